"""A matplotlib figure as inline SVG that follows the page's theme."""

import io
import re

from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from isthmus.plots.style import VARIABLES, styled


def inline_svg(figure: Figure, name: str, alternative: str) -> str:
    """SVG markup with ids that are unique to `name`, theme colors as CSS variables, and no fixed size.

    Args:
        figure: drawn in the house style.
        name: prefix of all ids.
        alternative: what a screen reader says.
    """
    buffer = io.StringIO()
    with styled():
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg", f'<svg role="img" aria-label="{_escaped(alternative)}"', 1)
    text = re.sub(r"font-family: [^;\"]+;?", "", text)
    text = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", text)
    for color, variable in VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    return text.strip()


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
