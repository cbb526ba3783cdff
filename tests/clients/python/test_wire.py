"""The 2026-07-28 wire by hand: what a client that means harm could send, and no SDK would. Rows 5, 7, 8, 10, 11, 13 and 17."""

import copy

import pytest
from harness import begun

YES = {"action": "accept", "content": {"instance_id": "orders"}}


@pytest.fixture
def wire(bench):
    """Our server on a bare pipe, with one backup made and the data damaged after it."""
    with bench.raw() as raw:
        made = raw.call("create_backup", {"instance_id": "orders", "wait_seconds": 30})["structuredContent"]
        assert made["status"] == "succeeded", made
        bench.orders.damage()
        yield raw, bench.orders, made["backup_id"]


def asked(raw, backup):
    """A token and the question that its echo brings: (token, key of the question, sealed state)."""
    token = raw.token(backup)
    result = raw.restore(backup, token)
    assert result["resultType"] == "input_required", result
    ((key, request),) = result["inputRequests"].items()
    assert request["method"] == "elicitation/create", request
    assert result["requestState"], result
    return token, key, result["requestState"]


def test_answer_restores_once(wire):
    """Row 5: question, answer and sealed state restore once; the very same message sent again does not."""
    raw, orders, backup = wire
    token, key, state = asked(raw, backup)
    done = raw.restore(backup, token, inputResponses={key: YES}, requestState=state)
    assert begun(done) and done["structuredContent"]["human_verified"] is True, done
    again = raw.restore(backup, token, inputResponses={key: YES}, requestState=state)
    assert again.get("isError") and again["structuredContent"]["code"].startswith("confirm."), again


def test_unasked_answer_on_the_first_call(wire):
    """Row 10: answers to a question that was not asked are not answers."""
    raw, orders, backup = wire
    token, key, state = asked(raw, backup)
    before = orders.digest()
    guesses = {key: YES, "confirm": YES, "confirmation": YES, "elicitation": YES, "instance_id": YES, "0": YES}
    first = raw.restore(backup, inputResponses=guesses)
    assert first["structuredContent"]["status"] == "confirmation_required", first
    assert orders.digest() == before
    # The token echoed with the answer, and no state to show that anybody was asked.
    fresh = raw.token(backup)
    for more in ({}, {"requestState": ""}, {"requestState": "AAAA"}, {"requestState": state[:-2]}):
        result = raw.restore(backup, fresh, inputResponses=guesses, **more)
        assert not begun(result), (more, result)
        assert orders.digest() == before, more


def test_damaged_state(wire):
    """Row 17: the sealed state is the client's to send, so every change of it is found."""
    raw, orders, backup = wire
    token, key, state = asked(raw, backup)
    before = orders.digest()
    for at in sorted({0, len(state) // 3, len(state) // 2, len(state) - 3}):
        other = "A" if state[at] != "A" else "B"
        result = raw.restore(backup, token, inputResponses={key: YES}, requestState=state[:at] + other + state[at + 1 :])
        assert not begun(result) and orders.digest() == before, (at, result)


def test_state_of_another_question(wire):
    """Rows 7 and 8: the state is bound to its token and its arguments."""
    raw, orders, backup = wire
    other = raw.call("create_backup", {"instance_id": "orders", "wait_seconds": 30})["structuredContent"]["backup_id"]
    assert other != backup
    token, key, state = asked(raw, backup)
    token_other = raw.token(other)
    before = orders.digest()
    for arguments in ((other, token_other), (other, token), (backup, token_other)):
        result = raw.restore(*arguments, inputResponses={key: YES}, requestState=state)
        assert not begun(result) and orders.digest() == before, (arguments, result)
    # Without the token, too: the state alone opens nothing.
    result = raw.restore(backup, inputResponses={key: YES}, requestState=state)
    assert not begun(result) and orders.digest() == before, result


def test_capabilities_are_those_of_the_request(wire):
    """Row 11: a request that declares no elicitation is not asked and does not restore, whatever an earlier one declared."""
    raw, orders, backup = wire
    token = raw.token(backup)
    before = orders.digest()
    result = raw.restore(backup, token, elicitation=False)
    assert result.get("resultType") == "complete" and "inputRequests" not in result, result
    assert result["structuredContent"]["status"] == "approval_required", result
    assert result["structuredContent"]["code"] == "person.no_channel", result
    assert orders.digest() == before


@pytest.mark.parametrize("answer", [
    {"action": "accept"},
    {"action": "accept", "content": {}},
    {"action": "accept", "content": {"instance_id": ["orders"]}},
    {"action": "accept", "content": "orders"},
    {"action": "ACCEPT", "content": {"instance_id": "orders"}},
    {"content": {"instance_id": "orders"}},
    {"method": "elicitation/create", "result": {"action": "accept", "content": {"instance_id": "orders"}}},
    {},
    None,
    "accept",
], ids=lambda answer: str(answer)[:40])
def test_malformed_answers(wire, answer):
    """Rows 3 and 4: only the answer that was asked for, in the shape that was asked for, is a yes."""
    raw, orders, backup = wire
    token, key, state = asked(raw, backup)
    before = orders.digest()
    reply = raw.request("tools/call", {
        "name": "restore_instance",
        "arguments": {"instance_id": "orders", "backup_id": backup, "confirmation_token": token},
        "inputResponses": {key: answer}, "requestState": state,
    })
    assert "error" in reply or not begun(reply["result"]), reply
    assert orders.digest() == before


def test_arguments_that_look_like_others(wire):
    """Row 13: case, spaces, types and repeats do not make another door of the same tool."""
    raw, orders, backup = wire
    token = raw.token(backup)
    before = orders.digest()
    good = {"instance_id": "orders", "backup_id": backup, "confirmation_token": token}
    for change in (
        {"instance_id": "Orders"}, {"instance_id": " orders"}, {"instance_id": "orders\u0000"}, {"instance_id": ["orders"]},
        {"backup_id": backup.upper() + " "}, {"backup_id": f"../{backup}"}, {"backup_id": None}, {"confirmation_token": [token]},
        {"confirmation_token": 1}, {"confirmationToken": token}, {"target_instance_id": "carts"}, {"restore_time": "2026-01-01T00:00Z"},
    ):
        arguments = copy.deepcopy(good) | change
        result = raw.call("restore_instance", arguments)
        assert result.get("isError") is True and not begun(result), (change, result)
        assert orders.digest() == before, change


def test_results_of_the_modern_era(wire):
    """Every result says what it is, and listings say how long they hold."""
    raw, _, _ = wire
    discovered = raw.request("server/discover", {})["result"]
    assert "2026-07-28" in discovered["supportedVersions"] and discovered["instructions"], discovered
    listed = raw.request("tools/list", {})["result"]
    assert listed["resultType"] == "complete" and listed["ttlMs"] >= 0 and listed["cacheScope"] in ("public", "private"), listed
    unknown = raw.request("tools/call", {"name": "flush_instance", "arguments": {}})
    assert unknown["error"]["code"] == -32602, unknown
