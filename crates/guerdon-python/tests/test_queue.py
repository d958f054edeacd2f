"""Requests on disk: two scorers share the work, and a claim ends with its process."""

import multiprocessing
import os
import pickle
import signal

import pytest
from scripted import Scripted

import guerdon
from guerdon import errors

ROLLOUTS = [{"messages": [{"role": "assistant", "content": "420?"}]}]


@pytest.fixture
def queue(tmp_path):
    return guerdon.Queue(tmp_path / "waiting")


def test_requests_are_scored_and_stay_until_they_are_done(queue):
    tickets = [queue.put(ROLLOUTS * count, profile="hotel", advantages="grpo") for count in (1, 2, 3)]
    assert queue.waiting() == tickets and queue.request(tickets[1])["profile"] == "hotel"
    with Scripted() as server:
        client = guerdon.Client(server.url)
        for count, claim in enumerate(queue.claims(), 1):
            assert claim.score(client).rewards == [float(index) for index in range(count)]
            assert claim.ticket in queue.waiting()
            claim.done()
        assert queue.waiting() == [] and len(server.received) == 3


def test_a_claimed_request_is_skipped_until_its_claim_ends(queue):
    first, second = queue.put(ROLLOUTS), queue.put(ROLLOUTS)
    again = guerdon.Queue(queue.folder)
    with queue.claim(first) as claim:
        assert "waiting" in repr(claim) and again.claim(first) is None
        assert [each.ticket for each in again.claims()] == [second]
    with again.claim(first) as claim:
        assert os.path.exists(claim.set_aside())
    assert again.claim(first) is None and queue.waiting() == [second]


def _take(folder, results):
    for claim in guerdon.Queue(folder).claims():
        results.put(claim.ticket)
        claim.done()
    results.put(None)


def test_processes_share_the_work_and_take_each_request_once(queue):
    tickets = [queue.put(ROLLOUTS) for _ in range(60)]
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=_take, args=(queue.folder, results)) for _ in range(3)]
    for worker in workers:
        worker.start()
    taken = [ticket for _ in range(len(tickets) + len(workers)) if (ticket := results.get(timeout=120)) is not None]
    assert sorted(taken) == sorted(tickets)
    for worker in workers:
        worker.join()
    assert queue.waiting() == []


def _hold(folder, ticket, ready):
    claim = guerdon.Queue(folder).claim(ticket)
    ready.put(claim is not None)
    signal.pause()


def test_a_claim_ends_when_its_process_is_killed(queue):
    ticket, context = queue.put(ROLLOUTS), multiprocessing.get_context("spawn")
    ready = context.Queue()
    worker = context.Process(target=_hold, args=(queue.folder, ticket, ready))
    worker.start()
    assert ready.get(timeout=120) and queue.claim(ticket) is None
    worker.kill()
    worker.join()
    assert queue.claim(ticket) is not None


def test_invalid_requests_tickets_and_folders_are_refused(queue, tmp_path):
    with pytest.raises(errors.RequestError, match="mesages"):
        queue.put([{"mesages": []}])
    with pytest.raises(errors.GuerdonError, match="not a ticket"):
        queue.request("../secret")
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.GuerdonError, match="request queue at"):
        guerdon.Queue(tmp_path / "file")
    assert queue.waiting() == [] and pickle.loads(pickle.dumps(queue)).folder == queue.folder
