"""A shard as the bytes of a Parquet file that says of itself which shard of which run it is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from . import records
from .key import canonical

if TYPE_CHECKING:
    import pyarrow as pa

ABOUT = b"engram"  # the metadata of a file that are ours
RESULT = "result"
_EVEN = ["scores.list.element", *(f"{name}.list.element" for name in records.AUDIT), "logprob", "probability", "peak"]


def encoded(run: str, shard: int, result: Mapping[str, Any]) -> bytes:
    """The file of one shard: what an experiment made of one case. The same result gives the same bytes.

    A result with `records` becomes a row for each of them, any other one row of JSON; `skipped`, and all else that a
    result with records says, goes to the file's metadata.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    about: dict[str, Any] = {"run": run, "shard": shard, "skipped": result["skipped"]}
    options: dict[str, Any] = {}
    if "records" in result:
        made = records.table(result["records"])
        about |= {key: value for key, value in result.items() if key != "records"}
        columns = [f for f in _leaves(made.schema) if f not in _EVEN]
        options = {"use_dictionary": columns, "use_byte_stream_split": _EVEN}  # halves what is kept of real numbers
    else:
        made = pa.table({RESULT: [json.dumps(result, ensure_ascii=False)]})
    made = made.replace_schema_metadata({ABOUT: canonical({**about, "rows": made.num_rows})})
    sink = pa.BufferOutputStream()
    pq.write_table(made, sink, compression="zstd", **options)
    return bytes(sink.getvalue())


def decoded(content: bytes) -> tuple[pa.Table, dict[str, Any]]:
    """A shard's table, and what the file says of itself. Raises ValueError for what is no shard, or not whole."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(content), pre_buffer=False)
        found = file.read(use_threads=False)  # `pq.read_table` starts threads, which can abort the process as it ends
        about: dict[str, Any] = json.loads((found.schema.metadata or {})[ABOUT])
    except (OSError, KeyError, pa.ArrowException) as error:
        raise ValueError(f"is no shard of a run ({error})") from error
    if found.num_rows != about["rows"]:
        raise ValueError(f"has {found.num_rows} rows, not {about['rows']}")
    return found, about


def result_of(found: pa.Table, about: Mapping[str, Any]) -> dict[str, Any]:
    """What the experiment gave."""
    if RESULT in found.column_names:
        result: dict[str, Any] = json.loads(found[RESULT][0].as_py())
        return result
    known = {key: value for key, value in about.items() if key not in ("run", "shard", "rows")}
    return {**known, "records": list(records.records(found))}


def _leaves(schema: pa.Schema) -> list[str]:
    import pyarrow as pa

    return [f"{f.name}.list.element" if pa.types.is_list(f.type) else f.name for f in schema]
