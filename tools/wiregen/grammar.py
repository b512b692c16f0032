"""The schema language: one text file per API or record, one line per field.

    # Comments run to the end of the line.
    api 0 PRODUCE              its key and Kafka's name for it
    versions 3-13              that exist; `0` alone means 0-0
    flexible 9+                compact lengths and tagged fields from here on, or `none`
    unstable 13                optional: this version is not served unless asked for

    request ProduceRequest
      acks          int16
      timeout_ms    int32   = 30000
      topic_data    []TopicProduceData
        name        string            3-12   ignorable
        topic_id    uuid              13+    ignorable
        records     records?
      rack          string?           11+    = null  tag 3

A file describes `request` and `response` of an API, or one `message` (header,
embedded blob, control record), or the `key` or `value` of a record in an
internal topic (then `record 2` instead of `api ...` gives the record's type).

A field is `name type [versions] [marks]`:

  type      bool int8 int16 uint16 int32 uint32 int64 float64 uuid string bytes records,
            `string16` (length always an int16, even in flexible versions: the client id),
            or the name of a struct. `[]` in front: a list. `?` behind: may be null.
  versions  where the field exists: `3`, `3-12` or `3+`; without it wherever what encloses it
            exists. Fields of a struct are indented below the first field of that type;
            a struct used in several places is a block of its own: `struct Name`.
  = x       what it holds where it does not exist or is not set: a number, `true`, "text" or
            `null`; without it zero, false, empty, or the zero uuid. Records default to null.
  nullable 2-7   may be null in these versions only (instead of `?`)
  tag 3     travels as tagged field 3, and only if it is not the default. A tagged struct
            that is absent is None (the same as one with all its fields at their defaults),
            unless null is a value of its own there.
  ignorable dropped silently by versions that lack it; otherwise a value there is an error

Struct names are shared by a whole file. Names are those of the Python classes and attributes.
"""

import json
import re
from dataclasses import dataclass, field

FIXED_SIZES = {
    "bool": 1,
    "int8": 1,
    "int16": 2,
    "uint16": 2,
    "int32": 4,
    "uint32": 4,
    "int64": 8,
    "float64": 8,
    "uuid": 16,
}
SIZED = ("string", "string16", "bytes", "records")
NEVER = 1 << 15

Range = tuple[int, int]
Default = bool | int | float | str | None


class SchemaError(Exception):
    """A schema file is wrong; the message names file and line."""


@dataclass
class Field:
    name: str
    type: str
    is_list: bool
    versions: Range
    nullable: Range | None
    default: Default
    default_is_null: bool
    tag: int | None
    ignorable: bool

    @property
    def is_struct(self) -> bool:
        return self.type[0].isupper()


@dataclass
class Struct:
    name: str
    fields: list[Field]


@dataclass
class Message:
    """`kind` is request, response, message, key or value."""

    kind: str
    name: str
    fields: list[Field]


@dataclass
class Schema:
    """One file. `api` is (key, name); `flexible_from` is None for `flexible none`."""

    path: str
    api: tuple[int, str] | None = None
    record: int | None = None
    versions: Range = (0, 0)
    flexible_from: int | None = None
    unstable: int | None = None
    messages: list[Message] = field(default_factory=list)
    structs: dict[str, Struct] = field(default_factory=dict)


def parse(path: str, text: str) -> Schema:
    """Return the schema that `text` describes.

    Raises:
        SchemaError: a line cannot be understood, or the whole does not make sense.
    """
    schema = Schema(path)
    # (indent, fields that lines of this indent go to, versions of what encloses them)
    stack: list[tuple[int, list[Field], Range]] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = re.sub(r'(^|\s)#(?=([^"]*"[^"]*")*[^"]*$).*', "", raw).rstrip()
        if not line:
            continue
        try:
            indent = len(line) - len(line.lstrip())
            if indent == 0:
                stack = _top(schema, line.split())
            else:
                _field_line(schema, stack, indent, line.strip())
        except (ValueError, IndexError, KeyError) as error:
            raise SchemaError(f"{path}:{number}: {error}: {raw.strip()!r}") from None
    try:
        _check(schema)
    except ValueError as error:
        raise SchemaError(f"{path}: {error}") from None
    return schema


def _top(schema: Schema, words: list[str]) -> list[tuple[int, list[Field], Range]]:
    """Take in a line without indent; return the stack that fields below it start from."""
    match words:
        case ["api", key, name]:
            schema.api = (int(key), name)
        case ["record", number]:
            schema.record = int(number)
        case ["versions", text]:
            schema.versions = _range(text, (0, NEVER))
        case ["flexible", "none"]:
            schema.flexible_from = None
        case ["flexible", text]:
            schema.flexible_from = _range(text, schema.versions)[0]
        case ["unstable", number]:
            schema.unstable = int(number)
        case ["request" | "response" | "message" | "key" | "value" as kind, name]:
            message = Message(kind, name, [])
            schema.messages.append(message)
            return [(2, message.fields, schema.versions)]
        case ["struct", name]:
            return [(2, _new_struct(schema, name), schema.versions)]
        case _:
            raise ValueError("unknown line")
    return []


def _new_struct(schema: Schema, name: str) -> list[Field]:
    if name in schema.structs:
        raise ValueError(f"struct {name} is described twice")
    schema.structs[name] = Struct(name, [])
    return schema.structs[name].fields


def _field_line(
    schema: Schema, stack: list[tuple[int, list[Field], Range]], indent: int, line: str
) -> None:
    if not stack:
        raise ValueError("a field outside of a message")
    while indent < stack[-1][0]:
        stack.pop()
    if indent > stack[-1][0]:
        above = stack[-1][1][-1]
        if not above.is_struct or indent != stack[-1][0] + 2:
            raise ValueError("unexpected indent")
        stack.append((indent, _new_struct(schema, above.type), above.versions))
    _, fields, within = stack[-1]
    new = _field(line, within)
    if any(new.name == other.name for other in fields):
        raise ValueError(f"{new.name} is described twice")
    fields.append(new)


def _field(line: str, within: Range) -> Field:
    name, type_text, *rest = re.findall(r'"(?:[^"\\]|\\.)*"|\S+', line)
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise ValueError("a field is named in lower case")
    match = re.fullmatch(r"(\[\])?(\w+)(\?)?", type_text)
    if match is None or not (match[2] in FIXED_SIZES or match[2] in SIZED or match[2][0].isupper()):
        raise ValueError(f"unknown type {type_text}")
    versions = within
    if rest and rest[0][0].isdigit():
        versions = _range(rest.pop(0), within)
    new = Field(
        name=name,
        type=match[2],
        is_list=match[1] is not None,
        versions=versions,
        nullable=versions if match[3] else None,
        default=None,
        default_is_null=match[2] == "records",
        tag=None,
        ignorable=False,
    )
    words = iter(rest)
    for word in words:
        if word == "=":
            _set_default(new, next(words))
        elif word == "nullable":
            new.nullable = _range(next(words), versions)
        elif word == "tag":
            new.tag = int(next(words))
        elif word == "ignorable":
            new.ignorable = True
        else:
            raise ValueError(f"unknown mark {word}")
    return new


def _set_default(new: Field, text: str) -> None:
    if text == "null":
        if new.nullable is None:
            raise ValueError("the default is null, but the field cannot be")
        new.default_is_null = True
    elif new.is_list or new.is_struct or new.type in ("bytes", "records", "uuid"):
        raise ValueError("only null can be its default")
    elif new.type == "bool":
        new.default = {"true": True, "false": False}[text]
    elif new.type in ("string", "string16"):
        new.default = str(json.loads(text))
    elif new.type == "float64":
        new.default = float(text)
    else:
        new.default = int(text, 0)


def _range(text: str, within: Range) -> Range:
    match = re.fullmatch(r"(\d+)(?:(\+)|-(\d+))?", text)
    if match is None:
        raise ValueError(f"not a range of versions: {text}")
    first = int(match[1])
    last = within[1] if match[2] else int(match[3] or first)
    if not within[0] <= first <= last <= within[1]:
        raise ValueError(f"versions {text} are not within {within[0]}-{within[1]}")
    return first, last


def _check(schema: Schema) -> None:
    """Refuse what the codec could not do, or not safely."""
    if not schema.messages:
        raise ValueError("no message")
    names = [message.name for message in schema.messages]
    if clash := set(names) & set(schema.structs):
        raise ValueError(f"{clash} is both a message and a struct")
    used: set[str] = set()
    for fields in [
        *(m.fields for m in schema.messages),
        *(s.fields for s in schema.structs.values()),
    ]:
        for item in fields:
            if item.is_struct:
                if item.type not in schema.structs:
                    raise ValueError(f"{item.name}: no struct {item.type}")
                used.add(item.type)
            flexible_from = NEVER if schema.flexible_from is None else schema.flexible_from
            if item.tag is not None and item.versions[0] < flexible_from:
                raise ValueError(f"{item.name}: tagged where versions are not flexible")
        tags = [item.tag for item in fields if item.tag is not None]
        if len(tags) != len(set(tags)):
            raise ValueError("a tag is used twice in one struct")
    if unused := set(schema.structs) - used:
        raise ValueError(f"{unused} is not used")
    for message in schema.messages:
        for version in range(schema.versions[0], schema.versions[1] + 1):
            _minimum_size(schema, message.fields, version, ())


def _minimum_size(
    schema: Schema, fields: list[Field], version: int, inside: tuple[str, ...]
) -> int:
    """The fewest bytes `fields` take; a list whose elements can take none is refused.

    (A count is believed only as far as the bytes that remain; an element of
    no bytes would make any count believable.)
    """
    flexible = schema.flexible_from is not None and version >= schema.flexible_from
    total = 1 if flexible else 0
    for item in fields:
        if not item.versions[0] <= version <= item.versions[1]:
            continue
        if item.is_struct:
            if item.type in inside:
                raise ValueError(f"{item.type} contains itself")
            size = _minimum_size(
                schema, schema.structs[item.type].fields, version, (*inside, item.type)
            )
            if item.is_list and size == 0:
                raise ValueError(f"{item.name}: its elements may be empty in version {version}")
        else:
            size = FIXED_SIZES.get(item.type, 1)
        if item.tag is None:
            total += 1 if item.is_list or item.nullable else size
    return total
