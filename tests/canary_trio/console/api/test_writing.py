"""What is written by the API: over the revision that is meant, by who may, or not at all."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from canary_trio import read_document, read_history, write_document
from tests.canary_trio.support.consoles import DOCUMENT, SERVICE, Asker, console

STEPS = {"id": "v2", "steps": [0.1, {"ratio": 0.5, "hold": None}, 1], "judge": None}
RUNNING = {"phase": "running", "step": 0, "target": 0.1, "ratio": 0.1, "begun": 1}
DONE = {"phase": "done", "step": 2, "target": 1, "ratio": 1, "begun": 1}


def with_rollout(state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {**DOCUMENT, **more, "rollout": {**STEPS, "state": state}}


async def written(asker: Asker, document: Any = DOCUMENT) -> int:
    return await write_document(asker.store, "web", document, over=0)


async def present(asker: Asker) -> Any:
    return (await asker.ask("GET", SERVICE, by="anna")).json


WRITES: dict[str, tuple[str, str, Any]] = {
    "fields": ("PATCH", "/document", {"assignments": ["ratio=0.3"]}),
    "whole": ("PUT", "/document", {"document": {**DOCUMENT, "ratio": 0.4}}),
    "text": (
        "PUT",
        "/document",
        {"text": '{"arms": {"stable": {"servers": ["http://a"]}}}'},
    ),
    "to confirm": (
        "PATCH",
        "/document",
        {"assignments": ["ratio=0.3"], "confirm_within_s": 60},
    ),
    "mode": (
        "POST",
        "/servers/mode",
        {"arm": "stable", "server": "http://10.0.0.2:1", "mode": "drain"},
    ),
    "freeze": ("POST", "/freeze", {"frozen": True, "message": "holidays"}),
}
"""Writes of a document without a rollout, as a method, a path and a body."""


@pytest.mark.parametrize("name", WRITES)
async def test_who_may_write_writes_over_the_revision_that_is_meant(
    name: str, tmp_path: Path
) -> None:
    method, path, body = WRITES[name]
    async with console(tmp_path) as asker:
        over = await written(asker)
        found = await asker.ask(
            method, SERVICE + path, {"message": "so", **body}, by="anna", match=over
        )
        assert found.status == 200, found
        history = await read_history(asker.store, "web")
        assert found.json["revision"] == history.present
        assert found.json["changed"] == (name != "freeze")
        if name == "freeze":
            entry = (await asker.store.get("canary/web/freeze")).entry
            assert entry is not None
            assert b'"anna"' in entry.value
        else:
            assert (history.changes[0].author, history.changes[0].message) == (
                "anna",
                "so",
            )
        assert bool(found.json["waits"]) == (name == "to confirm")


REFUSED: list[tuple[str, int | None, dict[str, str], int]] = [
    ("", 0, {}, 401),
    ("nobody", 0, {}, 401),
    ("bob", 0, {}, 403),
    ("anna", None, {}, 428),
    ("anna", 99, {}, 412),
    ("anna", 0, {"Content-Type": "text/plain"}, 415),
    ("anna", 0, {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ("anna", 0, {"Origin": "https://evil.example"}, 403),
    ("anna", 0, {"Origin": "null"}, 403),
    ("anna", 0, {"Sec-Fetch-Site": "cross-site"}, 403),
    ("anna", 0, {"Sec-Fetch-Site": "same-site"}, 403),
    ("anna", 0, {"Cookie": "canary=x", "Authorization": "Basic YTpi"}, 401),
]
"""Whose token, which revision (0 for the right one), what else is sent, and the status."""


async def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        over = await written(asker)
        for method, path, body in WRITES.values():
            for by, match, fields, status in REFUSED:
                found = await asker.ask(
                    method,
                    SERVICE + path,
                    body,
                    by="" if "Authorization" in fields else by,
                    match=over if match == 0 else match,
                    fields=fields,
                )
                assert found.status == status, (method, path, by, fields, found)
                assert found.json["error"]
        assert (await read_document(asker.store, "web"))[1] == over
        assert (await asker.store.get("canary/web/freeze")).entry is None


async def test_a_revision_that_is_none_is_said(tmp_path: Path) -> None:
    odd = ["812", '"x"', "*", 'W/"2"', '"-1"', '"99999999999999999999"', '""']
    async with console(tmp_path) as asker:
        await written(asker)
        for match in odd:
            found = await asker.ask(
                "PATCH",
                f"{SERVICE}/document",
                {"assignments": ["ratio=0"]},
                by="anna",
                fields={"If-Match": match},
            )
            assert found.status == 400, match
            assert found.json["problems"][0]["path"] == "If-Match"


async def test_of_two_operators_the_second_is_told_who_was_first(
    tmp_path: Path,
) -> None:
    async with console(tmp_path) as asker:
        over = await written(asker)
        path = f"{SERVICE}/document"
        body = {"assignments": ["ratio=0.3"], "message": "first"}
        first = await asker.ask("PATCH", path, body, by="anna", match=over)
        second = await asker.ask("PATCH", path, body, by="anna", match=over)

    assert second.status == 412
    assert second.json["revision"] == first.json["revision"]
    assert "anna" in second.json["who"]
    assert "(first)" in second.json["who"]
    assert second.json["changes"] == ["ratio: 0.1 → 0.3"]


async def test_a_document_with_faults_is_refused_with_all_of_them(
    tmp_path: Path,
) -> None:
    async with console(tmp_path) as asker:
        over = await written(asker)
        document = {**DOCUMENT, "ratio": 7, "style": "odd"}
        for method, body in (
            ("PUT", {"document": document}),
            ("PATCH", {"assignments": ["ratio=7", "style=odd"]}),
        ):
            found = await asker.ask(
                method, f"{SERVICE}/document", body, by="anna", match=over
            )
            assert found.status == 422
            paths = {problem["path"] for problem in found.json["problems"]}
            assert paths == {"$.ratio", "$.style"}


async def test_an_earlier_revision_is_written_again(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        first = await written(asker)
        second = await write_document(
            asker.store, "web", {**DOCUMENT, "ratio": 0.5}, over=first
        )
        found = await asker.ask(
            "POST", f"{SERVICE}/rollback", {"revision": first}, by="anna", match=second
        )
        none = await asker.ask(
            "POST",
            f"{SERVICE}/rollback",
            {"revision": 77},
            by="anna",
            match=found.json["revision"],
        )
        history = await read_history(asker.store, "web")

    assert found.status == 200
    assert history.changes[0].copy_of == first
    assert none.status == 404


async def test_a_first_document_is_written_over_none(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        body = {"document": DOCUMENT}
        found = await asker.ask(
            "PUT", "/api/v1/services/new/document", body, by="anna", match=0
        )
        again = await asker.ask(
            "PUT", "/api/v1/services/new/document", body, by="anna", match=0
        )

    assert found.status == 200
    assert again.status == 412


async def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        over = await written(asker)
        for arm, server in (("stable", "http://other"), ("none", "http://10.0.0.1:1")):
            found = await asker.ask(
                "POST",
                f"{SERVICE}/servers/mode",
                {"arm": arm, "server": server, "mode": "drain"},
                by="anna",
                match=over,
            )
            assert found.status == 404


@pytest.mark.parametrize(
    ("action", "phase", "ratio"),
    [
        ("promote", "running", 0.5),
        ("promote-full", "done", 1),
        ("pause", "paused", 0.1),
        ("abort", "aborted", 0),
    ],
)
async def test_a_rollout_is_told(
    action: str, phase: str, ratio: float, tmp_path: Path
) -> None:
    async with console(tmp_path) as asker:
        over = await written(asker, with_rollout(RUNNING))
        view = await present(asker)
        assert action in view["rollout"]["actions"]
        found = await asker.ask(
            "POST", f"{SERVICE}/rollout/{action}", {}, by="anna", match=over
        )
        assert found.status == 200, found
        view = await present(asker)
        while view["revision"] != found.json["revision"]:
            view = await present(asker)

    assert view["rollout"]["phase"] == phase
    assert view["rollout"]["ratio"] == ratio
    assert view["rollout"]["by"] == "anna"


@pytest.mark.parametrize("action", ["resume", "retry", "finish", "undo", "skip-gate"])
async def test_a_rollout_refuses_what_it_cannot_do_now(
    action: str, tmp_path: Path
) -> None:
    async with console(tmp_path) as asker:
        over = await written(asker, with_rollout(RUNNING))
        view = await present(asker)
        assert action not in view["rollout"]["actions"]
        found = await asker.ask(
            "POST", f"{SERVICE}/rollout/{action}", {}, by="anna", match=over
        )
        unknown = await asker.ask(
            "POST", f"{SERVICE}/rollout/explode", {}, by="anna", match=over
        )
        assert unknown.status == 404
        assert (await read_document(asker.store, "web"))[1] == over
        if action == "resume":  # it runs already
            assert (found.status, found.json["changed"]) == (200, False)
        else:
            assert found.status == 409, found


async def test_a_rollout_that_is_done_is_finished(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        over = await written(asker, with_rollout(DONE, ratio=1))
        asked = await asker.ask(
            "POST", f"{SERVICE}/rollout/finish", {}, by="anna", match=over
        )
        assert asked.status == 409  # no proxy says whether the servers are healthy
        found = await asker.ask(
            "POST",
            f"{SERVICE}/rollout/finish",
            {"unchecked": True},
            by="anna",
            match=over,
        )
        assert found.status == 200, found
        document = (await asker.ask("GET", f"{SERVICE}/history?limit=1")).json
    assert document["present"] == found.json["revision"]


async def test_what_waits_is_confirmed_or_taken_back(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        over = await written(asker)
        path, body = f"{SERVICE}/document", {"assignments": ["ratio=0.3"]}
        waiting = {**body, "confirm_within_s": 60}
        first = (await asker.ask("PATCH", path, waiting, by="anna", match=over)).json
        assert first["waits"]["back_to"] == over
        kept = await asker.ask(
            "POST", f"{SERVICE}/confirm", {}, by="anna", match=first["revision"]
        )
        assert kept.status == 200
        nothing = await asker.ask(
            "POST", f"{SERVICE}/confirm", {}, by="anna", match=first["revision"]
        )
        assert nothing.status == 409
        again = copy.deepcopy(waiting)
        again["assignments"] = ["ratio=0.9"]
        second = await asker.ask(
            "PATCH", path, again, by="anna", match=first["revision"]
        )
        back = await asker.ask(
            "POST", f"{SERVICE}/revert", {}, by="anna", match=second.json["revision"]
        )
        text, revision = await read_document(asker.store, "web")

    assert back.status == 200
    assert revision == back.json["revision"]
    assert b'"ratio": 0.3' in text


async def test_a_freeze_ends(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        over = await written(asker)
        for frozen in (True, False):
            found = await asker.ask(
                "POST", f"{SERVICE}/freeze", {"frozen": frozen}, by="anna", match=over
            )
            assert found.status == 200
            held = (await asker.store.get("canary/web/freeze")).entry is not None
            assert held == frozen


async def test_a_document_that_no_store_takes_is_refused_before(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        over = await written(asker)
        rule = {"header": "X-A", "equals": "x" * 1000, "arm": "stable"}
        rules = [{"name": f"r{n}", **rule} for n in range(520)]
        large = {"document": {**DOCUMENT, "rules": rules}}
        shown = await asker.ask("POST", f"{SERVICE}/preview", large, by="bob")
        put = await asker.ask(
            "PUT", f"{SERVICE}/document", large, by="anna", match=over
        )
        present = (await read_document(asker.store, "web"))[1]

    assert (shown.status, shown.json["valid"], put.status) == (200, False, 422)
    assert put.json["problems"] == shown.json["problems"]
    assert put.json["problems"][0]["expected"] == "at most 524288"
    assert present == over


async def test_what_was_done_is_always_told(tmp_path: Path) -> None:
    async with console(tmp_path) as asker:
        over = await written(asker)
        body, told = {"assignments": ["ratio=0.3"]}, []
        for _ in range(2):
            found = await asker.ask(
                "PATCH", f"{SERVICE}/document", body, by="anna", match=over
            )
            over = found.json["revision"]
            told.append(found.json["told"])

    assert told == [f"revision {over} written", "it is so already, nothing was written"]
