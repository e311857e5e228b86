"""A shard as the bytes of a Parquet file that says of itself which shard of which run it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import records
from .key import canonical

if TYPE_CHECKING:
    import pyarrow as pa

ABOUT = b"engram"  # the metadata of a file that are ours
KINDS = ("text", "whole", "real", "flag", "texts", "wholes", "reals")  # of columns
_EVEN = ["scores.list.element", *(f"{name}.list.element" for name in records.AUDIT), "logprob", "probability", "peak"]


def encoded(run: str, shard: int, result: Mapping[str, Any], columns: Mapping[str, str] | None = None) -> bytes:
    """The file of one shard: what an experiment made of one case. The same result gives the same bytes.

    Every entry of the result's `records` or `rows` becomes a row; rows have these `columns`, by name and kind (see
    `schema`). All else that the result says goes to the file's metadata. Raises ValueError for a row that has other
    columns, or values of another kind.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    about = {"run": run, "shard": shard, **{k: v for k, v in result.items() if k not in ("records", "rows")}}
    options: dict[str, Any] = {}
    if "records" in result:
        made = records.table(result["records"])
        own = [f for f in _leaves(made.schema) if f not in _EVEN]
        options = {"use_dictionary": own, "use_byte_stream_split": _EVEN}  # halves what is kept of real numbers
    else:
        made = _rows(result["rows"], columns or {})
    made = made.replace_schema_metadata({ABOUT: canonical({**about, "rows": made.num_rows})})
    sink = pa.BufferOutputStream()
    pq.write_table(made, sink, compression="zstd", **options)
    return bytes(sink.getvalue())


def _rows(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str]) -> pa.Table:
    import pyarrow as pa

    for row in rows:
        if row.keys() != columns.keys():
            raise ValueError(f"a row has the columns {', '.join(row)}, not {', '.join(columns)}")
    try:
        return pa.Table.from_pylist(list(rows), schema=schema(columns))
    except pa.ArrowException as error:
        raise ValueError(f"a row does not hold what its columns say: {error}") from error


def schema(columns: Mapping[str, str]) -> pa.Schema:
    """Columns of these names and kinds: text, whole, real or flag; texts, wholes and reals are lists of them.

    >>> print(schema({"subject": "text", "before": "reals"}))
    subject: string
    before: list<item: double>
      child 0, item: double
    """
    import pyarrow as pa

    one = {"text": pa.string(), "whole": pa.int64(), "real": pa.float64(), "flag": pa.bool_()}
    kinds = {**one, **{f"{kind}s": pa.list_(type_) for kind, type_ in one.items()}}
    if unknown := set(columns.values()) - set(KINDS):
        raise ValueError(f"there are columns of {', '.join(KINDS)}, and none of {min(unknown)}")
    return pa.schema([(name, kinds[kind]) for name, kind in columns.items()])


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
    known = {key: value for key, value in about.items() if key not in ("run", "shard", "rows")}
    if found.schema.names == records.schema().names:
        return {**known, "records": list(records.records(found))}
    return {**known, "rows": found.to_pylist()}


def _leaves(schema: pa.Schema) -> list[str]:
    import pyarrow as pa

    return [f"{f.name}.list.element" if pa.types.is_list(f.type) else f.name for f in schema]
