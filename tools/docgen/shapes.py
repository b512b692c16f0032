"""What the drawn pictures are made of: boxes, texts and arrows in SVG, for light and dark pages."""

from html import escape

SANS = "ui-sans-serif, system-ui, 'Segoe UI', Helvetica, Arial, sans-serif"
MONO = "ui-monospace, 'SF Mono', Menlo, Consolas, 'DejaVu Sans Mono', monospace"

_LIGHT = {
    ".page": "fill:#ffffff;stroke:#d1d9e0",
    ".ink": "fill:#1f2328",
    ".soft": "fill:#59636e",
    ".box": "fill:#f6f8fa;stroke:#d1d9e0",
    ".loop": "fill:#eef6ff;stroke:#54a0f0",
    ".step": "fill:#ffffff;stroke:#b6d4f5",
    ".core": "fill:#12857a",
    ".edge": "fill:#c4690e",
    ".line": "stroke:#59636e",
    ".tip": "fill:#59636e",
    ".back": "stroke:#2f7fd6",
    ".backtip": "fill:#2f7fd6",
}
_DARK = {
    ".page": "fill:#0d1117;stroke:#30363d",
    ".ink": "fill:#e6edf3",
    ".soft": "fill:#9aa4af",
    ".box": "fill:#161b22;stroke:#30363d",
    ".loop": "fill:#0f2036;stroke:#3f7fc4",
    ".step": "fill:#14283f;stroke:#2c5688",
    ".core": "fill:#3fbfae",
    ".edge": "fill:#e59a45",
    ".line": "stroke:#9aa4af",
    ".tip": "fill:#9aa4af",
    ".back": "stroke:#6cb0f7",
    ".backtip": "fill:#6cb0f7",
}


def style() -> str:
    light = "".join(f"{name}{{{rules}}}\n" for name, rules in _LIGHT.items())
    dark = "".join(f"{name}{{{rules}}}\n" for name, rules in _DARK.items())
    shared = ".line,.back{fill:none;stroke-width:1.6}\n.dash{stroke-dasharray:5 4}\n"
    return f"{light}{shared}@media (prefers-color-scheme: dark){{\n{dark}}}\n"


def box(kind: str, x: float, y: float, width: float, height: float, radius: float) -> str:
    return (
        f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" '
        f'rx="{radius:g}"/>'
    )


def text(
    kind: str,
    x: float,
    y: float,
    said: str,
    size: float,
    *,
    anchor: str = "start",
    mono: bool = False,
    weight: int = 400,
) -> str:
    family = f' font-family="{MONO}"' if mono else ""
    return (
        f'<text class="{kind}" x="{x:g}" y="{y:g}" font-size="{size:g}" font-weight="{weight}" '
        f'text-anchor="{anchor}"{family}>{escape(said)}</text>'
    )


def arrow(x1: float, y1: float, x2: float, y2: float, *, back: bool = False) -> str:
    """A straight arrow, across or up and down."""
    line, tip = ("back", "backtip") if back else ("line", "tip")
    down = (y2 > y1) - (y2 < y1)
    across = (x2 > x1) - (x2 < x1)
    base_x, base_y = x2 - 7 * across, y2 - 7 * down
    return (
        f'<path class="{line}" d="M{x1:g} {y1:g}L{base_x:g} {base_y:g}"/>'
        f'<path class="{tip}" d="M{x2:g} {y2:g}L{base_x - 4 * down:g} {base_y - 4 * across:g}'
        f'L{base_x + 4 * down:g} {base_y + 4 * across:g}Z"/>'
    )
