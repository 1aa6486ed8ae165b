"""Reads rendered IMAP lists back, strictly, so that tests can compare values instead of octets."""

from typing import Any


class Malformed(AssertionError):
    """The rendering breaks RFC 3501's grammar."""


def read_list(rendered: bytes) -> Any:
    """The nested lists, strings (bytes), numbers (int) and NILs (None) of one parenthesised list."""
    stack: list[list[Any]] = [[]]
    position = 0
    while position < len(rendered):
        sign = rendered[position : position + 1]
        if sign == b"(":
            stack.append([])
            position += 1
        elif sign == b")":
            if len(stack) < 2:
                raise Malformed(rendered)
            closed = stack.pop()
            stack[-1].append(closed)
            position += 1
        elif sign == b" ":
            position += 1
        elif sign == b'"':
            position += 1
            text = bytearray()
            while rendered[position : position + 1] != b'"':
                octet = rendered[position]
                if octet == 0x5C:
                    position += 1
                    octet = rendered[position]
                    if octet not in b'"\\':
                        raise Malformed(rendered)
                if octet in b"\r\n\0" or octet > 127:
                    raise Malformed(rendered)
                text.append(octet)
                position += 1
            position += 1
            stack[-1].append(bytes(text))
        elif sign == b"{":
            end = rendered.index(b"}\r\n", position)
            size = int(rendered[position + 1 : end])
            position = end + 3 + size
            literal = rendered[end + 3 : position]
            if len(literal) != size or b"\0" in literal:
                raise Malformed(rendered)
            stack[-1].append(literal)
        else:
            end = position
            while end < len(rendered) and rendered[end] not in b' ()"{':
                end += 1
            atom = rendered[position:end]
            if atom == b"NIL":
                stack[-1].append(None)
            elif atom.isdigit():
                stack[-1].append(int(atom))
            else:
                raise Malformed(rendered)
            position = end
    if len(stack) != 1 or len(stack[0]) != 1:
        raise Malformed(rendered)
    return stack[0][0]
