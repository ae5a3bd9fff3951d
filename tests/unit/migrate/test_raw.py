"""Raw commits, tags and trees: other ids go in, signatures go, and every other byte stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from git_theta.migrate.raw import (
    Item,
    MalformedObject,
    links,
    read_tree,
    relinked,
    render_tree,
    retargeted,
    tag_target,
    with_item,
)

OLD, NEW, A, B = "1" * 40, "2" * 40, "a" * 40, "b" * 40
PERSON = b"Jos\xe9 <j@x> 1234567890 -1217"
SIGNED_OVER = b"-----BEGIN PGP SIGNATURE-----\n \n abc\n -----END PGP SIGNATURE-----"


def commit(*headers: bytes, parents: tuple[str, ...] = (), message: bytes = b"subject\n\nbody\n") -> bytes:
    lines = [b"tree " + OLD.encode(), *(b"parent " + parent.encode() for parent in parents)]
    return b"\n".join([*lines, b"author " + PERSON, b"committer " + PERSON, *headers]) + b"\n\n" + message


@pytest.mark.parametrize(
    "raw",
    [
        commit(),
        commit(parents=(A,)),
        commit(parents=(A, B)),
        commit(b"encoding ISO-8859-1", message=b"caf\xe9\n"),
        commit(message=b""),
        commit(message=b"\n\n  leading and trailing blank lines\n\n\n"),
        commit(message=b"no newline at the end"),
        commit(message=b"tree " + OLD.encode() + b"\nparent " + A.encode() + b"\n"),
        commit(b"x-unknown header\n with a second line"),
        commit(b"mergetag object " + A.encode() + b"\n type commit\n gpgsig of the tag, not ours"),
        commit().partition(b"\n\n")[0] + b"\n",
    ],
    ids=range(11),
)
def test_only_tree_and_parents_of_a_commit_change(raw: bytes) -> None:
    _, parents = links(raw)
    changed, unsigned = relinked(raw, NEW, parents)
    assert changed == raw.replace(OLD.encode(), NEW.encode(), 1)
    assert not unsigned
    assert relinked(changed, OLD, parents) == (raw, False)


def test_parents_are_exchanged_in_their_order() -> None:
    changed, _ = relinked(commit(parents=(A, B)), OLD, [B, NEW])
    assert links(changed) == (OLD, [B, NEW])
    assert changed == commit(parents=(B, NEW))


@pytest.mark.parametrize("header", [b"gpgsig ", b"gpgsig-sha256 "])
def test_a_signature_goes_with_all_its_lines_and_nothing_else(header: bytes) -> None:
    raw = commit(b"encoding latin1", header + SIGNED_OVER, b"x-after it")
    assert relinked(raw, OLD, []) == (commit(b"encoding latin1", b"x-after it"), True)


def test_a_commit_that_is_none_is_refused() -> None:
    with pytest.raises(MalformedObject, match="expected tree"):
        links(b"author nobody\n\nno tree")


TAG = b"object " + OLD.encode() + b"\ntype commit\ntag v1\ntagger " + PERSON + b"\n\nwords\n"


@pytest.mark.parametrize("kind", [b"PGP SIGNATURE", b"PGP MESSAGE", b"SSH SIGNATURE", b"SIGNED MESSAGE"])
def test_a_tags_signature_goes_and_its_words_stay(kind: bytes) -> None:
    signature = b"-----BEGIN " + kind + b"-----\nabc\n-----END " + kind + b"-----\n"
    assert retargeted(TAG + signature, NEW) == (TAG.replace(OLD.encode(), NEW.encode()), True)


def test_an_unsigned_tag_gets_another_object_and_nothing_else() -> None:
    assert tag_target(TAG) == (OLD, b"commit")
    quoting = TAG + b"as in > -----BEGIN PGP SIGNATURE-----\n"
    assert retargeted(quoting, NEW) == (quoting.replace(OLD.encode(), NEW.encode()), False)


names = st.binary(min_size=1, max_size=8).filter(lambda name: not set(name) & set(b"\0/"))
modes = st.sampled_from([b"100644", b"100755", b"100664", b"120000", b"160000", b"40000", b"040000"])


@given(st.data(), st.sampled_from([20, 32]))
def test_a_tree_comes_back_as_it_was(data: st.DataObject, width: int) -> None:
    oids = st.binary(min_size=width, max_size=width).map(bytes.hex)
    items = data.draw(st.lists(st.builds(Item, modes, names, oids), max_size=8))
    assert read_tree(render_tree(items), width) == items


@pytest.mark.parametrize("cut", [1, 7, 10, 15, 27])
def test_a_tree_that_breaks_off_is_refused(cut: int) -> None:
    with pytest.raises(MalformedObject):
        read_tree(render_tree([Item(b"100644", b"a", A)])[:cut], 20)


def test_a_new_file_goes_where_git_sorts_it() -> None:
    attributes = Item(b"100644", b".gitattributes", A)
    items = [Item(b"40000", b".github", A), Item(b"100644", b"a", A)]
    assert with_item(items, attributes) == [attributes, *items]
    dotted = [Item(b"40000", b"a", A), Item(b"100644", b"a0", A)]
    assert with_item(dotted, Item(b"100644", b"a.b", A))[0].name == b"a.b"  # a folder sorts as a/


def test_a_file_of_the_same_name_is_replaced_where_it_is() -> None:
    items = [Item(b"100644", b"b", A), Item(b"100644", b"a", A)]
    assert with_item(items, Item(b"100755", b"b", B)) == [Item(b"100755", b"b", B), items[1]]
