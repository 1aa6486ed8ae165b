"""Octets to text: charset names as mail writes them, and fallbacks.

Invariants
- Decoding never raises and never gives a lone surrogate.
- Only codecs on the list below are used, whatever name a message states:
  Python has codecs that execute slow or quadratic algorithms (punycode, idna)
  or that are no text encodings at all (zip, hex).
- Detection (charset-normalizer) sees at most DETECT_LIMIT octets.
"""

import codecs
import encodings.aliases
from functools import lru_cache

#: Octets of undeclared 8-bit text that the detector looks at.
DETECT_LIMIT = 4096

_REFUSED = {
    "base64_codec", "bz2_codec", "hex_codec", "quopri_codec", "rot_13", "uu_codec", "zlib_codec", "mbcs",
    "idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "oem",
}  # fmt: skip
_ALLOWED = (set(encodings.aliases.aliases.values()) | {"utf_8_sig", "koi8_u", "koi8_t", "cp720", "cp737", "cp856",
            "cp874", "cp875", "cp1006", "mac_cyrillic"}) - _REFUSED  # fmt: skip

# Names that mail uses for a superset of what they state (as WHATWG's Encoding Standard has it) or that Python lacks.
_ALIASES = {
    "iso-8859-1": "cp1252", "iso8859-1": "cp1252", "iso_8859-1": "cp1252", "latin1": "cp1252", "latin-1": "cp1252",
    "iso-8859-9": "cp1254", "iso-8859-11": "cp874", "tis-620": "cp874", "windows-874": "cp874",
    "gb2312": "gb18030", "gbk": "gb18030", "x-gbk": "gb18030", "gb_2312-80": "gb18030", "cp936": "gb18030",
    "shift_jis": "cp932", "shift-jis": "cp932", "x-sjis": "cp932", "sjis": "cp932", "windows-31j": "cp932",
    "euc-kr": "cp949", "ks_c_5601-1987": "cp949", "ksc5601": "cp949", "ks_c_5601": "cp949", "korean": "cp949",
    "big5": "cp950", "x-big5": "cp950", "iso-2022-jp": "iso2022_jp_ext", "iso-8859-8-i": "iso8859_8",
    "iso-8859-8-e": "iso8859_8", "iso-8859-6-i": "iso8859_6", "utf8": "utf_8", "x-utf-8": "utf_8",
    "utf8mb4": "utf_8", "unicode-1-1-utf-7": "utf_7", "unicode-1-1-utf-8": "utf_8", "cp-850": "cp850",
    "x-mac-roman": "mac_roman", "macintosh": "mac_roman", "x-mac-cyrillic": "mac_cyrillic", "koi8-ru": "koi8_u",
    "x-euc-jp": "euc_jp", "dos-866": "cp866",
}  # fmt: skip
_UNDECLARED = {"", "us-ascii", "ascii", "ansi_x3.4-1968", "unknown-8bit", "x-unknown", "unknown", "default", "binary",
               "8bit", "7bit", "x-user-defined", "iso-10646"}  # fmt: skip


@lru_cache(512)
def codec_name(charset: str) -> str | None:
    """Python's codec for a charset name from a message; None if undeclared or unknown."""
    name = charset.strip(" \t\"'").lower()
    if name in _UNDECLARED or len(name) > 40:
        return None
    found = _ALIASES.get(name)
    if found is not None:
        return found
    if name.startswith("windows") and name[7:].lstrip("-_").isdecimal():
        name = "cp" + name[7:].lstrip("-_")
    try:
        codec = codecs.lookup(name).name
    except (LookupError, ValueError):
        # A name that Python does not know, or that holds a NUL: the fallbacks decide.
        return None
    codec = codec.replace("-", "_")
    return codec if codec in _ALLOWED else None


def _detect(octets: bytes) -> str:
    from charset_normalizer import from_bytes

    best = from_bytes(octets[:DETECT_LIMIT], steps=3, chunk_size=512, threshold=0.3).best()
    if best is not None and best.encoding in _ALLOWED:
        try:
            return octets.decode(best.encoding)
        except UnicodeDecodeError:
            pass  # the sample misled; the last resort below always answers
    return octets.decode("cp1252" if octets.translate(None, _NOT_CP1252) == octets else "latin-1")


_NOT_CP1252 = bytes((0x81, 0x8D, 0x8F, 0x90, 0x9D))


def _whole(text: str) -> str:
    """`text` without lone surrogates, which UTF-7 and some 16-bit codecs let through."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def decode_charset(octets: bytes, charset: str = "", *, detect: bool = True) -> str:
    """Text of `octets`: by the declared charset, else UTF-8, else detection, else Latin-1.

    `detect=False` leaves the (slow) detector out, for header fields and previews.
    """
    codec = codec_name(charset)
    if octets.isascii() and codec not in _NOT_ASCII:
        return octets.decode("ascii")
    if codec is not None:
        try:
            return _whole(octets.decode(codec))
        except UnicodeDecodeError:
            pass  # wrongly declared, or cut; UTF-8 is the commonest truth
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        if codec == "utf_8" or (error.start + 4 > len(octets) and not octets[: error.start].isascii()):
            return octets.decode("utf-8", "replace")
    if codec is not None:
        return _whole(octets.decode("latin-1" if codec == "cp1252" else codec, "replace"))
    if detect:
        return _detect(octets)
    return octets.decode("cp1252", "replace")


#: Codecs where octets below 128 do not stand for ASCII.
_NOT_ASCII = {
    "utf_7", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be", "hz", "iso2022_jp_ext",
    "iso2022_jp", "iso2022_jp_1", "iso2022_jp_2", "iso2022_jp_3", "iso2022_jp_2004", "iso2022_kr",
    "cp037", "cp273", "cp424", "cp500", "cp864", "cp875", "cp1026", "cp1140", "shift_jisx0213", "shift_jis_2004",
}  # fmt: skip
