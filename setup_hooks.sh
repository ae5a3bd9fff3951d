#!/bin/sh
# Set git-theta up on a fresh machine. Twice is once; `./setup_hooks.sh --help` says what it does.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
data=${XDG_DATA_HOME:-$HOME/.local/share}/git-theta
bin=$HOME/.local/bin

usage() {
    cat <<'HELP'
Usage: ./setup_hooks.sh [--demo | --test | --help]

Without an option: installs git-theta into a Python environment of its own
(~/.local/share/git-theta/venv), links it into ~/.local/bin, and registers its
filter, diff and merge drivers in your global Git configuration.

  --demo   set up as above, then show the main job on a small model
  --test   run the whole test suite from an environment inside this folder
           (.venv-test); your Git configuration and your git-theta stay as they are
  --help   this text

Missing git, git-lfs or python3-venv come from the system's package manager, with
sudo where that is needed; git-lfs is used for HTTP and SSH remotes only, so setup
goes on without it. PYTHON names the interpreter to use (3.10 or newer). pip's own
settings count: on Linux, PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu
makes --test fetch the much smaller CPU build of torch.

To take everything back: git theta uninstall, then remove ~/.local/bin/git-theta
and ~/.local/share/git-theta.
HELP
}

say() { printf '%s\n' "setup: $*"; }
fail() {
    printf '%s\n' "setup: $*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
        sudo "$@"
    else
        return 1
    fi
}

apt_install() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1" ||
        { as_root apt-get update && as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1"; }
}

# Install a package by the system's own means; fails where there are none or they are not allowed.
install_package() {
    say "installing $1 with the system's package manager"
    if have apt-get; then
        apt_install "$1"
    elif have brew; then
        brew install "$1"
    elif have dnf; then
        as_root dnf install -y "$1"
    elif have zypper; then
        as_root zypper --non-interactive install "$1"
    elif have pacman; then
        as_root pacman -S --noconfirm --needed "$1"
    elif have apk; then
        as_root apk add "$1"
    else
        return 1
    fi
}

need_git() {
    have git || install_package git || fail "git is missing: install it, then run this again"
}

want_git_lfs() {
    have git-lfs && return
    install_package git-lfs ||
        say "note: git-lfs could not be installed; all works but HTTP and SSH remotes (https://git-lfs.com)"
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }

find_python() {
    for python in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 python3.10; do
        if have "$python" && is_recent "$python"; then
            return
        fi
    done
    if [ -z "${PYTHON:-}" ] && ! have python3 && install_package python3 && is_recent python3; then
        python=python3
        return
    fi
    fail "no Python 3.10 or newer found; name one: PYTHON=/path/to/python3 $0"
}

works() { [ -x "$1/bin/python" ] && "$1/bin/python" -c 'import pip' >/dev/null 2>&1; }

# Make the virtual environment $1 unless it works already. Debian ships venv without ensurepip until python3-venv
# is there; where that cannot be installed, the system's pip can fill an environment from outside.
make_venv() {
    works "$1" && return
    find_python
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 && have apt-get; then
        install_package "$("$python" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')" ||
            install_package python3-venv || say "note: python3-venv could not be installed, trying without"
    fi
    say "making a Python environment in $1"
    rm -rf "$1"
    mkdir -p "$(dirname -- "$1")"
    if ! "$python" -m venv "$1"; then
        rm -rf "$1"
        "$python" -m venv --without-pip "$1" && "$python" -m pip --python "$1/bin/python" install pip ||
            fail "cannot make a Python environment; install the package python3-venv, then run this again"
    fi
}

pip_install() {
    environment=$1
    shift
    "$environment/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

set_up() {
    need_git
    make_venv "$data/venv"
    want_git_lfs
    say "installing git-theta into $data/venv"
    pip_install "$data/venv" --upgrade "$here"
    mkdir -p "$bin"
    if [ -e "$bin/git-theta" ] && [ ! -L "$bin/git-theta" ]; then
        fail "$bin/git-theta exists and is no link: move it away, then run this again"
    fi
    ln -sf "$data/venv/bin/git-theta" "$bin/git-theta"
    # man looks beside the folders on PATH, so this makes `git theta --help` work.
    mkdir -p "$HOME/.local/share/man/man1"
    ln -sf "$data/venv/share/man/man1/git-theta.1" "$HOME/.local/share/man/man1/git-theta.1"
    # Its own words about PATH would come before ours.
    "$bin/git-theta" install --global 2>"$data/install.log" || { cat "$data/install.log" >&2; exit 1; }
    grep -v -e 'is not on PATH' -e 'export PATH=' "$data/install.log" >&2 || :
    rm -f "$data/install.log"
    case ":$PATH:" in
    *":$bin:"*) say "ready: git theta track '*.safetensors'" ;;
    *)
        say "ready, once your shell finds it; put this line into its start-up file and open a new shell:"
        # shellcheck disable=SC2016 # the user's shell is to expand it
        printf '%s\n' '  export PATH="$HOME/.local/bin:$PATH"'
        ;;
    esac
}

run_demo() {
    set_up
    PATH=$bin:$PATH git theta demo
}

run_tests() {
    need_git
    make_venv "$here/.venv-test"
    want_git_lfs
    say "installing git-theta and its test tools into $here/.venv-test"
    pip_install "$here/.venv-test" --editable "$here[test]"
    # An LFS server to push to. Its requirements are in the test extra, with bounds that can be met together.
    pip_install "$here/.venv-test" --no-deps giftless==0.6.2
    cd "$here"
    # Whatever a test forgets to set, it must not reach the configuration of whoever runs it.
    GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 "$here/.venv-test/bin/python" -m pytest -q -n auto --dist worksteal
}

if [ $# -gt 1 ]; then
    usage >&2
    exit 2
fi
case "${1:-}" in
"") set_up ;;
--demo) run_demo ;;
--test) run_tests ;;
-h | --help) usage ;;
*)
    usage >&2
    exit 2
    ;;
esac
