"""The page's server against its own OpenAPI schema: whatever is sent, it answers in words, and never with an error."""

from __future__ import annotations

import pytest

pytest.importorskip("fastapi", reason="the page needs the extra web")
pytest.importorskip("schemathesis", reason="to send what a schema allows needs schemathesis")

import schemathesis
from hypothesis import HealthCheck, Phase, given, settings

from engram.web.app import create_app

TOKEN = {"X-Engram-Token": "a secret", "Host": "127.0.0.1"}
EACH = 15  # requests of an operation


@pytest.fixture(scope="module")
def operations(tmp_path_factory):
    app = create_app("engram:causal", tmp_path_factory.mktemp("runs"), "a secret")
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", app, headers=TOKEN)
    every = [found.ok() for found in schema.get_all_operations()]
    return [o for o in every if not o.path.endswith("/events")]  # these go on for as long as the work does


def test_no_request_that_the_schema_allows_makes_the_server_fail(operations):
    assert len(operations) > 8
    seen = set()
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(
            max_examples=EACH, deadline=None, derandomize=True, database=None, phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        def answered(case):
            response = case.call(headers=TOKEN)
            assert response.status_code < 500 or response.status_code == 503, (
                f"{case.method} {case.path}: {response.text}"
            )
            seen.add(response.status_code)

        answered()
    assert seen - {401, 403}, seen  # the token opened the door
