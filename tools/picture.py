#!/usr/bin/env python3
"""picture.py FILE.svg: runs the console on the demo's lab in tmux, waits for the
board to be whole, and draws what the terminal shows as an SVG picture."""
import html
import re
import subprocess
import sys
import time

COLS, ROWS, CELL_W, CELL_H = 96, 30, 8.4, 18
COLORS = ['#45475a', '#e06c75', '#98c379', '#e5c07b', '#61afef', '#c678dd', '#56b6c2', '#dcdfe4',
          '#7f848e', '#ff7a85', '#b5e890', '#ffd68a', '#7cc4ff', '#dd9bf0', '#7fdbe6', '#ffffff']
PAPER, INK = '#1e2127', '#dcdfe4'


def tmux(*args):
    return subprocess.run(['tmux', '-L', 'picture', *args], capture_output=True, text=True, check=False).stdout


def capture(program):
    """The board once nothing is being asked any more, with its escape sequences."""
    tmux('new-session', '-d', '-x', str(COLS), '-y', str(ROWS), program + ' demo')
    try:
        since, end = time.time(), time.time() + 90
        while time.time() < end:
            plain = tmux('capture-pane', '-p')
            if 'PROBLEMS' not in plain or 'asking' in plain or 'not read yet' in plain or 'proven for 0' in plain:
                since = time.time()
            elif time.time() - since > 5:  # nothing comes any more
                return tmux('capture-pane', '-e', '-p')
            time.sleep(0.3)
        sys.exit('no whole board within 90 s:\n' + plain)
    finally:
        tmux('send-keys', 'q')
        time.sleep(3)
        tmux('kill-server')


def spans(line, style):
    """Pieces of a line with the style in force: (column, text, style)."""
    column = 0
    for piece in re.split(r'(\x1b\[[0-9;]*m)', line):
        if piece.startswith('\x1b'):
            style = apply(piece[2:-1], style)
        elif piece:
            yield column, piece, style
            column += len(piece)
    return style


def apply(codes, style):
    style = dict(style)
    for code in [int(c or 0) for c in codes.split(';')]:
        if code == 0:
            style = {}
        elif code in (1, 2, 4, 7):
            style[code] = True
        elif 30 <= code <= 37:
            style['fg'] = COLORS[code - 30]
        elif 90 <= code <= 97:
            style['fg'] = COLORS[code - 82]
        elif code == 39:
            style.pop('fg', None)
        elif 40 <= code <= 47:
            style['bg'] = COLORS[code - 40]
        elif code == 49:
            style.pop('bg', None)
    return style


def draw(text):
    width, height = COLS * CELL_W + 24, ROWS * CELL_H + 24
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="The board of cairn">',
           f'<rect width="100%" height="100%" rx="8" fill="{PAPER}"/>',
           '<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace" font-size="14" xml:space="preserve">']
    for row, line in enumerate(text.rstrip('\n').split('\n')):
        for column, piece, style in spans(line, {}):
            fg, bg = style.get('fg', INK), style.get('bg')
            if style.get(7):
                fg, bg = PAPER, fg
            x, y = 12 + column * CELL_W, 12 + row * CELL_H
            if bg:
                out.append(f'<rect x="{x:.1f}" y="{y}" width="{len(piece) * CELL_W:.1f}" height="{CELL_H}" fill="{bg}"/>')
            if piece.strip():
                extra = ' font-weight="bold"' if style.get(1) else ''
                extra += ' opacity="0.65"' if style.get(2) else ''
                out.append(f'<text x="{x:.1f}" y="{y + 13.5}" fill="{fg}"{extra} textLength="{len(piece) * CELL_W:.1f}" '
                           f'lengthAdjust="spacingAndGlyphs">{html.escape(piece)}</text>')
    return '\n'.join(out + ['</g>', '</svg>', ''])


if __name__ == '__main__':
    with open(sys.argv[1], 'w', encoding='utf-8') as f:
        f.write(draw(capture('./cairn')))
