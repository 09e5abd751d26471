from wit_world import exports
from wit_world.imports import log
from wit_world.imports.types import (
    Acceptance,
    Context,
    Effect,
    Incoming,
    Manifest,
    Next_Stop,
    Operation,
    RetryHint,
    Verdict,
    Verdict_Accept,
    Verdict_Drop,
    Verdict_Reject,
    Verdict_Retry,
)


class Handler(exports.Handler):
    def describe(self) -> Manifest:
        return Manifest(
            name="guest-python",
            version="0.1.0",
            description="",
            accepts=[],
            targets=[],
            lookups=[],
            secrets=[],
            capabilities=[],
            config_schema=None,
            attributes=[],
        )

    def init(self, context: Context) -> None:
        pass

    def process(self, incoming: Incoming) -> Verdict:
        log.write(log.Level.INFO, "seen", [("lang", "python")])

        if b"drop" in incoming.data:
            return Verdict_Drop("asked to")
        if b"reject" in incoming.data:
            return Verdict_Reject("asked to")
        if b"retry" in incoming.data:
            return Verdict_Retry(RetryHint("asked to", after_ms=5))
        if b"crash" in incoming.data:
            raise RuntimeError("asked to crash")

        effect = Effect(
            target=None,
            entity=None,
            operation=Operation.UPSERT,
            key=incoming.delivery.key,
            precondition=None,
            content_type="application/json",
            headers=[],
            payload=incoming.data,
        )
        return Verdict_Accept(Acceptance([effect], Next_Stop()))
