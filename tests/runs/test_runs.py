"""The life of a run on the real broker; the tests are its only worker."""

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
import redis
from celery.app.trace import build_tracer
from django.db import connection, transaction
from django.utils import timezone

from analytics import runs as runs_module
from analytics.analyses.question import Question
from analytics.analyses.request import request_analysis
from analytics.models import Analysis, Calculation, Status
from analytics.runs import (
    DEAD_AFTER,
    SENT_AFTER,
    RunLost,
    cancel,
    claimed_run,
    fail,
    finish,
    heartbeat,
    send,
)
from analytics.tasks import reconcile_runs, run_analysis
from analytics.turns import positions
from devices.locks import AdvisoryLock
from devices.timeline.periods import Period
from tests.support import factories
from tests.support.concurrency import another_connection, at_the_same_time, held_by_another
from tests.support.portal import eventually
from tests.support.queues import emptied_queue

pytestmark = pytest.mark.django_db
QUEUE = "analyses"
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
# Allowance for a busy machine.


@pytest.fixture(autouse=True)
def broker() -> Iterator[redis.Redis]:
    with emptied_queue(QUEUE) as client:
        yield client


def sent(broker: redis.Redis) -> list[str]:
    """Ids of the runs whose messages wait, in the order of sending."""
    messages = [json.loads(message) for message in reversed(broker.lrange(QUEUE, 0, -1))]
    return [message["headers"]["argsrepr"].strip("'(),") for message in messages]


def queued(**fields: Any) -> Analysis:
    """A run that was requested and sent an hour ago, unless `fields` say otherwise."""
    then = timezone.now() - HOUR
    fields = {"asked_at": then, "sent_at": then} | fields
    return Analysis.objects.create(device=factories.device(), **fields)


def running(**fields: Any) -> Analysis:
    """A run claimed by the task `first`, with a heartbeat of now."""
    now = {"attempts": 1, "claimed_by": "first", "heartbeat_at": timezone.now()}
    return queued(status=Status.RUNNING, **now | fields)


def work(analysis: Analysis, task_id: str) -> Analysis:
    """Process the run's message as a worker does; returns the run afterwards."""
    trace = build_tracer(run_analysis.name, run_analysis, app=run_analysis.app)
    trace(task_id, [str(analysis.pk)], {}, {"id": task_id})
    return fresh(analysis)


def fresh(analysis: Analysis) -> Analysis:
    return Analysis.objects.get(pk=analysis.pk)


def reconcile(now: datetime | None = None) -> int:
    return runs_module.reconcile(Analysis, run_analysis, now or timezone.now())


def ask(device: Any, period: Period | None = None) -> Analysis:
    question = Question(period or Period())
    return request_analysis(device, question, asked_by=device.owner, now=factories.NOON + HOUR)


class TestAsking:
    def test_nothing_is_sent_before_the_row_is_committed(self, broker, django_capture_on_commit_callbacks):
        with django_capture_on_commit_callbacks(execute=True):
            analysis = ask(factories.device())
            assert (fresh(analysis).status, sent(broker)) == (Status.QUEUED, [])
        assert sent(broker) == [str(analysis.pk)]
        assert fresh(analysis).sent_at is not None

    @pytest.mark.django_db(transaction=True)
    def test_what_is_rolled_back_is_never_sent(self, broker):
        device = factories.device()
        with transaction.atomic():
            ask(device)
            transaction.set_rollback(True)
        assert (sent(broker), Analysis.objects.count()) == ([], 0)

    def test_who_asks_again_gets_the_same_task(self, broker, django_capture_on_commit_callbacks):
        device = factories.device()
        with django_capture_on_commit_callbacks(execute=True):
            first = ask(device)
            assert ask(device) == first
        assert len(sent(broker)) == 1

    def test_new_readings_and_other_periods_make_new_tasks(self):
        device = factories.device()
        first = ask(device)
        work(first, "task")
        assert ask(device) == first
        assert ask(device, Period(start=factories.NOON)) != first
        factories.readings(device, [(1.0, 2.0, 3.0)])
        assert ask(device) != first

    @pytest.mark.parametrize("status", [Status.FAILED, Status.CANCELLED])
    def test_what_came_to_nothing_is_asked_for_anew(self, status):
        device = factories.device()
        first = ask(device)
        Analysis.objects.update(status=status)
        assert ask(device) != first

    @pytest.mark.django_db(transaction=True)
    def test_two_who_ask_at_the_same_time_get_one_task(self, broker):
        device = factories.device()
        tasks = at_the_same_time(lambda: ask(device).pk, times=4)
        assert len(set(tasks)) == Analysis.objects.count() == 1
        assert sent(broker) == [str(tasks[0])]


class TestClaiming:
    def test_of_two_claims_one_wins(self):
        analysis = queued()
        assert runs_module.claim(Analysis, "first") == analysis
        assert runs_module.claim(Analysis, "second") is None
        analysis = fresh(analysis)
        assert (analysis.status, analysis.claimed_by, analysis.attempts) == (Status.RUNNING, "first", 1)

    @pytest.mark.django_db(transaction=True)
    def test_of_four_claims_at_the_same_time_one_wins(self):
        analysis = queued()
        claims = at_the_same_time(lambda: runs_module.claim(Analysis, str(uuid4())), times=4)
        assert [claim for claim in claims if claim is not None] == [analysis]
        assert fresh(analysis).attempts == 1

    @pytest.mark.parametrize("status", [Status.RUNNING, Status.FINISHED, Status.FAILED, Status.CANCELLED])
    def test_only_what_is_queued_can_be_claimed(self, status):
        analysis = queued(status=status)
        assert runs_module.claim(Analysis, "task") is None
        assert (fresh(analysis).status, fresh(analysis).attempts) == (status, 0)

    def test_a_run_that_was_deleted_is_nobodys(self):
        queued().device.delete()
        assert runs_module.claim(Analysis, "task") is None

    def test_it_is_the_one_asked_for_first_whatever_the_message_says(self):
        now = timezone.now()
        runs = [queued(asked_at=now - hours * HOUR) for hours in (1, 3, 2)]
        work(runs[0], "a task")
        assert [fresh(run).status for run in runs] == [Status.QUEUED, Status.FINISHED, Status.QUEUED]
        assert runs_module.claim(Analysis, "second") == runs[2]
        assert runs_module.claim(Analysis, "third") == runs[0]
        assert runs_module.claim(Analysis, "fourth") is None

    def test_one_that_is_taken_up_again_goes_before_those_behind_it(self):
        first = running(asked_at=timezone.now() - 2 * HOUR, heartbeat_at=timezone.now() - HOUR)
        queued()
        reconcile()
        assert runs_module.claim(Analysis, "second") == first

    @pytest.mark.django_db(transaction=True)
    def test_four_at_the_same_time_get_four(self):
        runs = [queued() for _ in range(4)]
        claims = at_the_same_time(lambda: runs_module.claim(Analysis, str(uuid4())).pk, times=4)
        assert sorted(claims) == sorted(run.pk for run in runs)

    @pytest.mark.django_db(transaction=True)
    def test_one_that_another_run_refers_to_at_this_moment_is_claimed_all_the_same(self):
        """The reference is a foreign key: writing it takes FOR KEY SHARE on the row."""
        run = Calculation.objects.create(
            kernel="well", kernel_version="1", parameters={}, seed=1, asked_at=timezone.now() - HOUR
        )
        with another_connection() as other:
            other.execute("BEGIN; SELECT FROM analytics_calculation FOR KEY SHARE")
            assert runs_module.claim(Calculation, "task") == run
            other.execute("ROLLBACK")

    def test_positions_are_told_from_one(self):
        now = timezone.now()
        runs = [queued(asked_at=now - hours * HOUR) for hours in (1, 3, 2)]
        running()
        assert positions(Analysis) == {runs[1].pk: 1, runs[2].pk: 2, runs[0].pk: 3}

    def test_it_takes_one_statement(self, django_assert_num_queries):
        queued()
        with django_assert_num_queries(1):
            runs_module.claim(Analysis, "task")


class TestWork:
    def test_the_result_is_stored_and_then_the_row_is_finished(self):
        analysis = queued()
        factories.readings(analysis.device, [(1.0, 5.0, 0.0), (2.0, 6.0, 0.0)])
        analysis = work(analysis, "task")
        assert (analysis.status, analysis.progress, analysis.readings) == (Status.FINISHED, 100, 2)
        assert analysis.result["y"]["median"] == 5.5
        assert (analysis.task_result.task_id, analysis.task_result.status) == ("task", "SUCCESS")

    def test_a_message_that_comes_twice_is_worked_on_once(self):
        analysis = queued()
        finished_at = work(analysis, "task").finished_at
        analysis = work(analysis, "task")
        assert (analysis.attempts, analysis.finished_at) == (1, finished_at)

    def test_a_message_that_comes_again_takes_no_other_run(self):
        finished, waiting = work(queued(), "task"), queued()
        assert work(finished, "task").status == Status.FINISHED
        assert fresh(waiting).status == Status.QUEUED

    def test_only_the_claimant_may_finish(self):
        analysis = running()
        work(queued(), "second")
        assert claimed_run(Analysis, "first") == analysis.pk
        assert claimed_run(Analysis, "second") is None
        assert not finish(Analysis, analysis.pk, "second")
        assert not fail(Analysis, analysis.pk, "second", ValueError("late"))
        assert (fresh(analysis).status, fresh(analysis).task_result) == (Status.RUNNING, None)

    def test_an_exception_is_recorded_on_the_row(self):
        analysis = queued()
        factories.readings(analysis.device, [(1.0, 2.0)])
        analysis = work(analysis, "task")
        assert analysis.status == Status.FAILED
        assert analysis.error == "ValueError: A stored reading does not have 3 values."
        assert analysis.finished_at is not None
        assert analysis.result is None

    @pytest.mark.django_db(transaction=True)
    def test_a_database_that_does_not_answer_leaves_the_run_to_the_reconciler(self, broker):
        analysis = queued()
        with readings_locked():
            analysis = work(analysis, "task")
        assert (analysis.status, analysis.error) == (Status.RUNNING, "")
        assert reconcile(timezone.now() + DEAD_AFTER + SECOND) == 1
        assert sent(broker) == [str(analysis.pk)]
        assert work(analysis, "again").status == Status.FINISHED

    @pytest.mark.django_db(transaction=True)
    def test_it_is_kept_alive_while_the_work_goes_on(self, monkeypatch):
        monkeypatch.setattr(runs_module, "PROGRESS_SECONDS", 0.01)
        analysis = running(heartbeat_at=timezone.now() - HOUR)
        deadline = time.monotonic() + 10
        with heartbeat(analysis):
            while fresh(analysis).heartbeat_at < timezone.now() - DEAD_AFTER:
                assert time.monotonic() < deadline

    @pytest.mark.django_db(transaction=True)
    @pytest.mark.parametrize("loss", [{"claimed_by": "second"}, {"status": Status.CANCELLED}])
    def test_progress_is_reported_by_the_claimant_alone_and_who_lost_the_run_hears_of_it(
        self, monkeypatch, loss
    ):
        monkeypatch.setattr(runs_module, "PROGRESS_SECONDS", 0.01)
        analysis = running()
        with heartbeat(analysis) as report:
            report(40)
            eventually(lambda: fresh(analysis).progress == 40)
            Analysis.objects.update(**loss)
            with pytest.raises(RunLost):
                eventually(lambda: report(50))
        assert fresh(analysis).progress == 40

    @pytest.mark.django_db(transaction=True)
    def test_work_that_does_not_listen_is_killed_with_its_process(self):
        analysis = running()
        connection.close()
        child = os.fork()
        if child == 0:
            with heartbeat(analysis):
                while True:
                    pass
        cancel(analysis)
        eventually(lambda: os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@contextmanager
def readings_locked() -> Iterator[None]:
    """Lock the readings table on another connection, without waiting for locks on this one."""
    with another_connection() as other, connection.cursor() as cursor:
        other.execute("BEGIN; LOCK TABLE devices_reading")
        cursor.execute("SET lock_timeout = '10ms'")
        yield
        other.execute("ROLLBACK")
        cursor.execute("RESET lock_timeout")


class TestCancelling:
    @pytest.mark.parametrize("make", [queued, running])
    def test_an_open_run_ends_and_cannot_be_claimed(self, make):
        analysis = make()
        assert cancel(analysis)
        assert work(analysis, "task").status == Status.CANCELLED
        assert fresh(analysis).finished_at is not None

    def test_a_worker_that_is_at_it_can_no_longer_deliver(self):
        analysis = running()
        cancel(analysis)
        assert not finish(Analysis, analysis.pk, "first")
        assert (fresh(analysis).status, fresh(analysis).result) == (Status.CANCELLED, None)

    @pytest.mark.parametrize("status", [Status.FINISHED, Status.FAILED, Status.CANCELLED])
    def test_what_is_over_stays_as_it_is(self, status):
        analysis = queued(status=status)
        assert not cancel(analysis)
        assert fresh(analysis).status == status


class TestReconciling:
    def test_a_run_whose_worker_died_is_taken_up_again(self, broker):
        analysis = running(heartbeat_at=timezone.now() - DEAD_AFTER - SECOND)
        assert reconcile() == 1
        assert sent(broker) == [str(analysis.pk)]
        analysis = fresh(analysis)
        assert (analysis.status, analysis.claimed_by, analysis.attempts) == (Status.QUEUED, "", 1)
        assert analysis.sent_at > timezone.now() - SECOND * 10

    def test_one_whose_worker_lives_is_left_alone(self, broker):
        analysis = running(heartbeat_at=timezone.now() - DEAD_AFTER + 5 * SECOND)
        assert reconcile() == 0
        assert (fresh(analysis).status, sent(broker)) == (Status.RUNNING, [])

    def test_after_three_attempts_it_is_given_up(self, broker):
        for attempt in (1, 2):
            analysis = running(attempts=attempt, heartbeat_at=timezone.now() - HOUR)
            reconcile()
            assert fresh(analysis).status == Status.QUEUED
            analysis.delete()
        broker.delete(QUEUE)
        analysis = running(attempts=3, heartbeat_at=timezone.now() - HOUR)
        assert reconcile() == 0
        analysis = fresh(analysis)
        assert (analysis.status, analysis.finished_at is None, sent(broker)) == (Status.FAILED, False, [])
        assert "3 attempts" in analysis.error

    def test_a_message_that_the_broker_lost_is_sent_again(self, broker):
        analysis = queued()
        assert reconcile() == 1
        assert sent(broker) == [str(analysis.pk)]
        assert reconcile() == 0

    def test_one_that_never_reached_the_broker_is_sent(self, broker):
        analysis = queued(asked_at=timezone.now() - SENT_AFTER - SECOND, sent_at=None)
        assert reconcile() == 1
        assert sent(broker) == [str(analysis.pk)]

    def test_what_was_asked_for_or_sent_just_now_is_not_sent_twice(self):
        now = timezone.now()
        queued(asked_at=now - SECOND, sent_at=None)
        queued(sent_at=now - 5 * SECOND)
        assert reconcile(now) == 0

    def test_a_long_queue_is_not_sent_again(self, broker):
        for _ in range(5):
            send(queued(), run_analysis)
        Analysis.objects.update(sent_at=timezone.now() - HOUR)
        before = sent(broker)
        assert reconcile() == 0
        assert sent(broker) == before

    def test_but_one_that_is_missing_from_it_is(self, broker):
        missing = queued(asked_at=timezone.now() - 2 * HOUR)
        for _ in range(3):
            send(queued(), run_analysis)
        assert reconcile() == 1
        assert sent(broker)[-1] == str(missing.pk)

    def test_only_so_many_are_sent_at_once_the_oldest_first(self, broker, monkeypatch):
        monkeypatch.setattr(runs_module, "RESEND_BATCH", 2)
        now = timezone.now()
        analyses = [queued(asked_at=now - hours * HOUR) for hours in (1, 3, 2)]
        assert reconcile() == 2
        assert sent(broker) == [str(analyses[1].pk), str(analyses[2].pk)]

    def test_a_second_reconciler_at_the_same_time_does_nothing(self, broker):
        queued()
        with held_by_another(AdvisoryLock.RECONCILE_RUNS):
            assert reconcile_runs() == 0
        assert sent(broker) == []
        assert reconcile_runs() == 1

    @pytest.mark.parametrize("status", [Status.FINISHED, Status.FAILED, Status.CANCELLED])
    def test_what_is_over_is_left_alone(self, broker, status):
        queued(status=status, heartbeat_at=timezone.now() - HOUR)
        assert (reconcile(), sent(broker)) == (0, [])


class TestSending:
    def test_the_message_goes_to_its_queue_and_carries_the_id_alone(self, broker):
        analysis = queued()
        send(analysis, run_analysis)
        [message] = broker.lrange(QUEUE, 0, -1)
        headers = json.loads(message)["headers"]
        assert headers["task"] == "analytics.tasks.run_analysis"
        assert (headers["argsrepr"], headers["kwargsrepr"]) == (f"('{analysis.pk}',)", "{}")

    def test_the_connection_to_the_broker_stays(self, broker):
        send(queued(), run_analysis)
        before = broker.info("stats")["total_connections_received"]
        for _ in range(3):
            send(queued(), run_analysis)
        assert broker.info("stats")["total_connections_received"] == before
        assert len(sent(broker)) == 4

    def test_a_broker_that_is_down_is_no_error_and_the_row_waits(self, monkeypatch):
        monkeypatch.setattr(run_analysis.app.conf, "broker_url", "redis+socket:///nowhere/redis.sock")
        analysis = queued()
        send(analysis, run_analysis)
        assert fresh(analysis).sent_at is None
