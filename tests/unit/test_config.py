"""Settings: how words become values, which source wins, and what is said about the rest."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from git_theta.gitio.config import SETTINGS, BadSetting, parse_bool, parse_count, parse_days, parse_size, read_settings


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose user has configured nothing."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "global"))
    path = tmp_path / "repo"
    subprocess.run(["git", "init", "--quiet", path], check=True)
    return path


def configure(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "config", *arguments], cwd=folder, check=True)


@pytest.mark.parametrize("word", ["true", "TRUE", "yes", "On", "1"])
def test_words_for_true(word: str) -> None:
    assert parse_bool(word) is True


@pytest.mark.parametrize("word", ["false", "FALSE", "no", "Off", "0", ""])
def test_words_for_false(word: str) -> None:
    assert parse_bool(word) is False


def test_any_other_word_is_not_a_boolean() -> None:
    with pytest.raises(ValueError, match="true or false"):
        parse_bool("maybe")


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("65536", 65536),
        ("1k", 1024),
        ("512m", 512 << 20),
        ("2G", 2 << 30),
        ("4 GiB", 4 << 30),
        ("3mb", 3 << 20),
    ],
)
def test_sizes_have_units_of_1024(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "-1", "1.5", "two", "99999", "14 days"])
def test_days_are_whole_numbers(text: str) -> None:
    assert (parse_days("0"), parse_days(" 14 ")) == (0, 14)
    with pytest.raises(ValueError, match="whole number of days"):
        parse_days(text)


@pytest.mark.parametrize("text", ["", "m", "-1", "1.5g", "12 parsecs", "1" * 30])
def test_sizes_that_mean_nothing_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="a size such as"):
        parse_size(text)


@pytest.mark.parametrize("text", ["0", "-2", "many", "", "99999"])
def test_counts_start_at_one(text: str) -> None:
    with pytest.raises(ValueError, match="a whole number"):
        parse_count(text)


def test_without_configuration_every_origin_is_default(folder: Path) -> None:
    settings = read_settings({}, folder)
    assert [one.origin for one in settings.effective] == ["default"] * len(SETTINGS)
    assert settings.missing == "placeholder"
    assert settings.skip_smudge is False
    assert 1 <= settings.threads <= 8
    assert settings.smudge_limit > 1 << 20
    assert settings.store(folder / ".git") == folder / ".git" / "theta"


def test_local_configuration_wins_over_global_and_names_its_file(folder: Path) -> None:
    configure(folder, "--global", "theta.smudgeLimit", "1g")
    configure(folder, "--local", "theta.smudgeLimit", "512m")
    settings = read_settings({}, folder)
    assert settings.smudge_limit == 512 << 20
    assert settings.effective[1].origin == "file:.git/config (local)"


def test_an_environment_variable_wins_over_configuration(folder: Path) -> None:
    configure(folder, "theta.threads", "3")
    settings = read_settings({"GIT_THETA_THREADS": "5"}, folder)
    assert settings.threads == 5
    assert settings.effective[3].origin == "environment variable GIT_THETA_THREADS"


def test_an_empty_environment_variable_counts_as_absent(folder: Path) -> None:
    configure(folder, "theta.threads", "3")
    assert read_settings({"GIT_THETA_THREADS": ""}, folder).threads == 3


def test_skip_smudge_false_means_false(folder: Path) -> None:
    assert read_settings({"GIT_THETA_SKIP_SMUDGE": "FALSE"}, folder).skip_smudge is False
    assert read_settings({"GIT_THETA_SKIP_SMUDGE": "1"}, folder).skip_smudge is True


def test_a_key_without_a_value_is_true(folder: Path) -> None:
    with (folder / ".git" / "config").open("a") as file:
        file.write("[theta]\n\tskipSmudge\n")
    assert read_settings({}, folder).skip_smudge is True


def test_an_absolute_storage_stays_and_a_relative_one_starts_at_the_common_folder(folder: Path, tmp_path: Path) -> None:
    assert read_settings({"GIT_THETA_STORAGE": str(tmp_path)}, folder).store(folder) == tmp_path
    assert read_settings({"GIT_THETA_STORAGE": "cache"}, folder).store(folder) == folder / "cache"


def test_a_bad_value_names_the_setting_the_place_and_what_is_expected(folder: Path) -> None:
    configure(folder, "theta.missing", "shrug")
    with pytest.raises(
        BadSetting, match=r"theta.missing is 'shrug' \(file:.git/config \(local\)\), expected"
    ) as caught:
        read_settings({}, folder)
    assert caught.value.exit_code == 2
    assert caught.value.hint == "git config --local --unset-all theta.missing"
    with pytest.raises(BadSetting) as caught:
        read_settings({"GIT_THETA_MISSING": "shrug"}, folder)
    assert caught.value.hint == "unset GIT_THETA_MISSING"


def test_who_is_tolerant_gets_the_default_and_the_problem(folder: Path) -> None:
    configure(folder, "theta.missing", "shrug")
    settings = read_settings({}, folder, tolerant=True)
    assert settings.missing == "placeholder"
    assert [one.setting.name for one in settings.effective if one.problem] == ["theta.missing"]


@pytest.mark.parametrize(
    ("settings", "hardened"),
    [
        ({}, os.name == "nt"),
        ({"core.fsync": "committed"}, True),
        ({"core.fsync": "none"}, False),
        ({"core.fsync": "none,loose-object"}, True),
        ({"core.fsync": "committed,-loose-object"}, False),
        ({"core.fsync": "all,-objects"}, False),
        ({"core.fsync": "index"}, os.name == "nt"),
        ({"core.fsync": "added"}, True),
        ({"core.fsyncObjectFiles": "true"}, True),
        ({"core.fsyncObjectFiles": "true", "core.fsync": "none"}, False),
    ],
)
def test_objects_wait_for_the_disk_where_gits_loose_objects_do(
    folder: Path, settings: dict[str, str], hardened: bool
) -> None:
    for name, text in settings.items():
        configure(folder, name, text)
    assert read_settings({}, folder).hardened is hardened


def test_unknown_keys_are_reported_with_their_place(folder: Path) -> None:
    configure(folder, "theta.smudgLimit", "1g")
    assert [(one.key, one.origin) for one in read_settings({}, folder).unknown] == [
        ("theta.smudglimit", "file:.git/config (local)")
    ]


def test_settings_are_readable_outside_a_repository(folder: Path, tmp_path: Path) -> None:
    configure(folder, "--global", "theta.threads", "2")
    assert read_settings({}, tmp_path).threads == 2
