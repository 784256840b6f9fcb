"""The JSON schema of ``tocsin.yaml`` for editors, made from the same types that parse it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from tocsin.settings.explain import secret_fields
from tocsin.settings.load import Tables
from tocsin.settings.model import Settings


def json_schema(tables: Tables) -> dict[str, Any]:
    """Return the schema as plain data; kinds become alternatives told apart by ``kind``."""
    schema = Settings.model_json_schema(by_alias=True)
    defs = schema.setdefault("$defs", {})
    for filled_by_load in ("source", "home"):
        schema["properties"].pop(filled_by_load, None)
    schema["properties"]["targets"] = {"type": "array", "items": _alternatives(tables.targets, defs)}
    schema["properties"]["destinations"] = {
        "type": "object",
        "additionalProperties": _alternatives(tables.destinations, defs),
    }
    schema["properties"]["thresholds"]["propertyNames"] = {"enum": sorted(tables.thresholds)}
    defs.pop("TargetSettings", None)
    defs.pop("DestinationSettings", None)
    schema["title"] = "tocsin.yaml"
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _alternatives(kinds: Mapping[str, type[BaseModel]], defs: dict[str, Any]) -> dict[str, Any]:
    refs = []
    for model in kinds.values():
        own = model.model_json_schema(by_alias=True, ref_template="#/$defs/{model}")
        defs.update(own.pop("$defs", {}))
        for name in secret_fields(model):
            own["properties"][f"{name}_file"] = {"type": "string", "description": f"A file that holds {name}."}
            if name in own.get("required", []):
                own["required"].remove(name)
        defs[model.__name__] = own
        refs.append({"$ref": f"#/$defs/{model.__name__}"})
    return {"oneOf": refs}
