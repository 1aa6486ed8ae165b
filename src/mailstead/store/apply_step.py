"""A step: one index transaction of the pipeline, and of replay after a crash.

Invariants: the steps of a shard follow the sequence numbers of their records; all targets or operations of a record
in one shard are in one step; a step is applied as a whole, with its ``applied`` mark and its commit number, or not at
all, so running it again after a failure is safe.
"""

from __future__ import annotations

from typing import Any

from mailstead.message.index import index_message, with_header_in_front
from mailstead.store.apply_changes import Refused
from mailstead.store.apply_delivery import Delivery, StoredMessage, apply_deliveries, apply_queue
from mailstead.store.apply_folders import apply_operation, operations_weight
from mailstead.store.operations import Operation
from mailstead.store.record import Stream, Target, TargetKind
from mailstead.store.shard import Shard
from mailstead.store.submission import ChangeSubmission, MessageSubmission

MAX_ROWS = 64


class Step:
    """``deliveries`` or ``operations`` of one shard; ``origins``: folder to who changed it; see module docstring."""

    __slots__ = (
        "deliveries",
        "effects",
        "failures",
        "first_shard",
        "group",
        "id",
        "operations",
        "origins",
        "seq",
        "shard",
        "stream",
        "submissions",
        "weight",
        "writer",
    )

    def __init__(self, shard: int, writer: int, stream: int) -> None:
        self.shard = shard
        self.writer = writer
        self.stream = stream
        self.seq = 0
        self.id = 0
        self.deliveries: list[Delivery] = []
        self.operations: list[Operation] = []
        self.submissions: list[Any] = []
        self.effects: list[Any] = []
        self.origins: dict[int, object | None] = {}
        self.first_shard = True
        self.weight = 0
        self.group = 0
        self.failures = 0


def variant(message: StoredMessage, target: Target, body: bytes) -> StoredMessage:
    """The message as a recipient with header lines of its own sees it."""
    index = with_header_in_front(message.index, target.overlay)
    return message.with_index(index if index is not None else index_message(target.overlay + body))


def build_steps(
    messages: list[tuple[MessageSubmission, StoredMessage]],
    changes: list[ChangeSubmission],
    writer: int,
    *,
    lazy: bool = False,
) -> list[Step]:
    """Steps for a batch whose records are durable (or, with ``lazy``, need not be yet)."""
    steps: list[Step] = []
    open_steps: dict[int, Step] = {}
    pairs = {submission.seq: (submission, message) for submission, message in messages}
    pairs_or_changes: list[Any] = sorted([*(s for s, _ in messages), *changes], key=lambda s: s.seq)
    for submission in pairs_or_changes:
        if isinstance(submission, MessageSubmission):
            message = pairs[submission.seq][1]
            by_shard: dict[int, list[Delivery]] = {}
            for target in submission.head.targets:
                # The queue keeps no index of its messages.
                own = target.overlay and target.kind == TargetKind.FOLDER
                source = variant(message, target, submission.body) if own else message
                delivery = Delivery(source, target)
                submission.outcomes.append(delivery)
                by_shard.setdefault(target.shard, []).append(delivery)
            for number, deliveries in by_shard.items():
                step = open_steps.get(number)
                joined = submission.head.group and step is not None and step.group == submission.head.group
                if step is None or (step.weight + len(deliveries) > MAX_ROWS and not joined):
                    step = open_steps[number] = Step(number, writer, Stream.DURABLE)
                    steps.append(step)
                step.deliveries += deliveries
                step.weight += len(deliveries)
                step.seq = submission.seq
                step.group = submission.head.group
                step.submissions.append(submission)
                submission.pending += 1
        else:
            steps += _change_steps(submission, writer, open_steps, lazy)
    return steps


def _change_steps(submission: ChangeSubmission, writer: int, open_steps: dict[int, Step], lazy: bool) -> list[Step]:
    steps: list[Step] = []
    current: dict[int, Step] = {}
    for op in submission.operations:
        step = current.get(op.shard)
        if step is None:
            step = current[op.shard] = Step(op.shard, writer, Stream.EFFECTS if lazy else Stream.DURABLE)
            step.first_shard = not steps
            step.seq, step.id = submission.seq, submission.id
            step.submissions.append(submission)
            submission.pending += 1
            steps.append(step)
            open_steps.pop(op.shard, None)
        step.operations.append(op)
    for step in steps:
        step.weight = operations_weight(step.operations)
    return steps


def split_step(step: Step) -> list[Step]:
    """A step per record, in order, for a step in which one of them fails."""
    if step.operations or len(step.submissions) < 2:
        return [step]
    steps: list[Step] = []
    for submission in step.submissions:
        group = submission.head.group
        if group and steps and steps[-1].group == group:
            alone = steps[-1]
            alone.deliveries += [d for d in step.deliveries if d.record.seq == submission.seq]
            alone.submissions.append(submission)
            alone.seq, alone.weight = submission.seq, len(alone.deliveries)
            continue
        alone = Step(step.shard, step.writer, step.stream)
        alone.group = group
        alone.deliveries = [d for d in step.deliveries if d.record.seq == submission.seq]
        alone.submissions = [submission]
        alone.seq, alone.weight = submission.seq, len(alone.deliveries)
        steps.append(alone)
    return steps


def run_step(shard: Shard, step: Step) -> int:
    """Apply a step in one transaction; returns its commit number. Raises apsw errors with nothing changed."""
    shard.begin()
    try:
        step.effects = []
        if step.deliveries:
            for delivery in step.deliveries:
                delivery.outcome = 0
            apply = apply_queue if shard.is_queue else apply_deliveries
            step.effects = apply(shard, step.deliveries)
        if step.operations:
            _run_operations(shard, step)
        if shard.noted:
            step.effects = [*shard.noted, *step.effects]
        if step.seq and step.stream == Stream.DURABLE:
            shard.mark_applied(step.writer, step.stream, step.seq)
        return shard.commit()
    except BaseException:
        shard.rollback()
        raise


def _run_operations(shard: Shard, step: Step) -> None:
    """All operations of a record, or none; what the second shard of a record would refuse is passed over, because
    the first has committed already."""
    results: list[Any] = []
    effects: list[Any] = []
    refusal: Refused | None = None
    noted = len(shard.noted)
    shard.execute("SAVEPOINT record")
    try:
        for op in step.operations:
            try:
                result = apply_operation(shard, op, step.id)
            except Refused:
                if step.first_shard:
                    raise
                continue
            results.append(result)
            effects += result.effects
    except Refused as refused:
        refusal = refused
        shard.execute("ROLLBACK TO record")
        shard.keywords.clear()
        shard.inboxes.clear()
        del shard.noted[noted:]
        results, effects = [], []
    shard.execute("RELEASE record")
    step.effects = effects
    for submission in step.submissions:
        if step.first_shard:
            submission.results = results
            submission.refusal = refusal
        else:
            submission.results = [*submission.results, *results]


def touched_folders(step: Step) -> dict[int, int]:
    """Folder id to modseq of every folder a step has changed, and account id to 0 where names, rights or notes changed."""
    touched: dict[int, int] = {}
    for effect in step.effects:
        match effect[0]:
            case "new" | "flags" | "gone" | "moved" | "own" | "base":
                touched[effect[1]] = effect[2]
            case "folder":
                touched[effect[3]] = 0
                if effect[1] == "delete":
                    touched[effect[2]] = 0
            case "subscribe" | "metadata" | "acl":
                touched[effect[1]] = 0
                if effect[0] == "acl" and effect[3].lstrip("-").startswith("u"):
                    touched[int(effect[3].lstrip("-")[1:])] = 0  # whom it is shared with
    return touched
