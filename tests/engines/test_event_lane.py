import threading
import time

import pytest

from engines.event_lane import EventLane

WAIT_S = 10.0


@pytest.fixture
def make_lane():
    lanes = []

    def make(deliver, deadline=lambda: None, on_deadline=lambda: None, former=None):
        lane = EventLane(deliver, deadline, on_deadline, former=former, name="lane of a test")
        lanes.append(lane)
        lane.start()
        return lane

    yield make
    for lane in lanes:
        lane.finish()
        lane.join(WAIT_S)


def test_events_come_in_order_from_the_lane_and_all_before_its_end(make_lane):
    seen = []
    lane = make_lane(lambda event: seen.append((event, threading.current_thread().name)))
    for number in range(100):
        lane.put(number)
    lane.finish()
    lane.join(WAIT_S)
    assert seen == [(number, "lane of a test") for number in range(100)]


def test_a_listener_that_fails_gets_the_next_event_all_the_same(make_lane, expect_log):
    expect_log("a listener of events failed", level=40)
    seen = []

    def deliver(event):
        seen.append(event)
        if event == 1:
            raise LookupError

    lane = make_lane(deliver)
    lane.put(1)
    lane.put(2)
    lane.finish()
    lane.join(WAIT_S)
    assert seen == [1, 2]


def test_a_deadline_that_is_set_later_is_minded(make_lane):
    deadline = None
    reached = threading.Event()

    def on_deadline():
        nonlocal deadline
        deadline = None
        reached.set()

    lane = make_lane(print, lambda: deadline, on_deadline)
    assert not reached.wait(0.05)
    deadline = time.monotonic() + 0.02
    lane.look_at_deadline()
    assert reached.wait(WAIT_S)


def test_a_deadline_that_is_taken_back_is_not_reached(make_lane):
    deadline = time.monotonic() + 0.2
    reached, delivered = threading.Event(), threading.Event()
    lane = make_lane(lambda _: delivered.set(), lambda: deadline, reached.set)
    deadline = None
    lane.look_at_deadline()
    lane.put("something")
    assert delivered.wait(WAIT_S)
    assert not reached.wait(0.3)


def test_a_lane_waits_for_the_last_delivery_of_its_former(make_lane):
    order = []
    go_on, begun = threading.Event(), threading.Event()

    def slow(event):
        begun.set()
        go_on.wait(WAIT_S)
        order.append(event)

    former = make_lane(slow)
    former.put("former")
    former.finish()
    assert begun.wait(WAIT_S)
    lane = make_lane(order.append, former=former)
    lane.put("later")
    go_on.set()
    lane.finish()
    lane.join(WAIT_S)
    assert order == ["former", "later"]


def test_joining_from_inside_does_not_wait_for_itself(make_lane):
    answers = []

    def deliver(_event):
        lane.join(WAIT_S)
        answers.append(lane.is_current_thread)

    lane = make_lane(deliver)
    lane.put("x")
    lane.finish()
    lane.join(WAIT_S)
    assert answers == [True] and not lane.is_current_thread
