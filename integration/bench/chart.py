"""Pictures of the benches, as SVG. They have a background, to be readable in dark mode."""

import html
import re

COLORS = {"floor": "#9aa5b1", "orlop": "#1864ab", "crun": "#e8890c", "runc": "#7a5195"}
WIDTH = 760
TOP = 84  # below the title, the subtitle and the legend


def color(name):
    return COLORS.get(name, "#5c940d")  # of --other


def frame(title, subtitle, versions, left, height, body):
    """The whole picture. VERSIONS is what each runtime says of itself, by its name."""
    x, legend = left, []
    for name, version in versions.items():
        number = re.search(r"\d+(\.\d+)+", version)
        label = f"{name} {number[0]}" if number else name
        legend.append(f'<rect x="{x}" y="54" width="11" height="11" rx="2" fill="{color(name)}"/>'
                      f'<text x="{x + 16}" y="64">{html.escape(label)}</text>')
        x += 48 + 8 * len(label)
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="13" fill="#1f2933" role="img" '
        f'aria-label="{html.escape(title)}, by container runtime">',
        f'<rect width="{WIDTH}" height="{height}" rx="8" fill="#fbfbf9"/>',
        f'<text x="{left}" y="24" font-size="15" font-weight="600">{html.escape(title)}</text>',
        f'<text x="{left}" y="41" font-size="11" fill="#52606d">{html.escape(subtitle)}</text>',
        *legend, *body, "</svg>", ""])


def bars(title, subtitle, versions, operations):
    """Horizontal bars, grouped by operation; whiskers from p10 to p90."""
    left, right, bar, gap, group = 100, 96, 15, 3, 16
    longest = max((row["p90_ms"] for rows in operations.values() for row in rows.values()), default=1)
    scale = (WIDTH - left - right) / longest
    body, y = [], TOP
    for operation, rows in operations.items():
        middle = y + (len(rows) * (bar + gap) - gap) / 2
        body.append(f'<text x="{left - 12}" y="{middle + 4.5:.1f}" text-anchor="end" font-weight="600">'
                    f"{operation}</text>")
        for name, row in rows.items():
            length, center = max(row["median_ms"] * scale, 1), y + bar / 2
            low, high = left + row["p10_ms"] * scale, left + row["p90_ms"] * scale
            body.append(f'<rect x="{left}" y="{y}" width="{length:.1f}" height="{bar}" rx="2" fill="{color(name)}">'
                        f"<title>{operation} {name}: median {row['median_ms']:.2f} ms, p10 {row['p10_ms']:.2f}, "
                        f"p90 {row['p90_ms']:.2f}</title></rect>")
            body.append(f'<path d="M{low:.1f} {center}H{high:.1f}M{low:.1f} {center - 3}v6M{high:.1f} {center - 3}v6" '
                        f'stroke="#1f2933" stroke-opacity=".55" fill="none"/>')
            body.append(f'<text x="{max(left + length, high) + 6:.1f}" y="{center + 4}" font-size="11.5">'
                        f"{row['median_ms']:.2f} ms</text>")
            y += bar + gap
        y += group
    return frame(title, subtitle, versions, left, y + 8, body)


def lines(title, subtitle, versions, panels):
    """One panel beside the other: (name, unit of x, {runtime: [(x, milliseconds), ...]}). Both axes start at 0."""
    left, gap, height = 44, 56, 220
    width = (WIDTH - left - 24 - gap * (len(panels) - 1)) / len(panels)
    bottom = TOP + 24 + height
    body = []
    for number, (name, unit, series) in enumerate(panels):
        x0 = left + number * (width + gap)
        points = [point for row in series.values() for point in row]
        furthest = max((x for x, _ in points), default=1)
        highest = max((y for _, y in points), default=1)
        step = round_step(highest / 4)
        top_value = step * -(-highest // step)
        body.append(f'<text x="{x0}" y="{TOP + 8}" font-weight="600">{html.escape(name)}</text>')
        for tick in range(int(top_value / step) + 1):
            y = bottom - tick * step / top_value * height
            body.append(f'<path d="M{x0} {y:.1f}h{width:.1f}" stroke="#d9dee4" fill="none"/>')
            body.append(f'<text x="{x0 - 6}" y="{y + 4:.1f}" text-anchor="end" font-size="11">{tick * step:g}</text>')
        for part in 0, 0.5, 1:
            body.append(f'<text x="{x0 + part * width:.1f}" y="{bottom + 18}" text-anchor="middle" font-size="11">'
                        f"{furthest * part:g}</text>")
        body.append(f'<text x="{x0 + width / 2:.1f}" y="{bottom + 34}" text-anchor="middle" font-size="11" fill="#52606d">'
                    f"{html.escape(unit)}</text>")
        for runtime, row in series.items():
            path = " ".join(f"{x0 + x / furthest * width:.1f},{bottom - y / top_value * height:.1f}" for x, y in row)
            body.append(f'<polyline points="{path}" stroke="{color(runtime)}" stroke-width="2" fill="none">'
                        f"<title>{html.escape(name)} {runtime}: {row[0][1]:.2f} to {row[-1][1]:.2f} ms</title></polyline>")
    return frame(title, subtitle, versions, left, bottom + 48, body)


def round_step(value):
    """The smallest of 1, 2, 5, 10, 20, ... (or 0.1, 0.2, ...) that is not below VALUE."""
    step = 1
    while step / 10 >= value:
        step /= 10
    while True:
        for factor in 1, 2, 5:
            if step * factor >= value:
                return step * factor
        step *= 10
