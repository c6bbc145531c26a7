#!/usr/bin/env python3
"""Asterisk 16's REST Interface (ARI) in one file: exact on the wire, with a small Stasis model in memory behind it.

It is a stand-in for Asterisk 16.30.1 where applications of ARI are written, tested and taught: calls are made, answered,
bridged, recorded and hung up with nothing but HTTP, and every status line, header, error text and event is Asterisk's.
It is not a telephone system: nobody outside can be called, no audio is mixed, and it belongs on no open network.

Three ways in:

    use it                              section 11, and the README: python3 -m ari_ref --config ari.conf.sample
    see how a request is answered       section 10: serve_request() and decide(), which go through sections 5, 6 and 8
    learn WebSocket                     section 3, which needs little more than the errors of section 1

Sections, in the order of what they need:

     1. Words and limits                words and numbers; AriError, HttpError, ConfigError, WebSocketError
     2. JSON and time                   the only dumper, reader and clock format
     3. WebSocket                       RFC 6455: handshake, frames, one connection's state
     4. Configuration                   ari.conf and http.conf to Config and HttpConfig; crypt(3)
     5. HTTP: a connection              heads and bodies, read by line; Request and Response; credentials, CORS, admit()
     6. The REST machine                parameters, operations, routes, answer(), the API description
     7. Stasis                          the model; its parts: time and events, the dialplan, the queue of a stay, a channel,
                                        what runs on it, calls, bridges, files, media and digits, telephones, devices
     8. Operations                      the 98, each declared above its behaviour
     9. The page                        what a browser shows of it all, and plays with it
    10. Server                          sockets, threads, timers, the lock; RTP; what a test may do
    11. Command line                    options, signals, exit status

The arrow rule: a section uses names of the sections above it only (annotations apart).

The lock rule: Stasis is a plain object, and whoever calls it holds Server.lock, which is taken in one method, change(). Under
it nobody touches a socket or a file, logs, sleeps or waits. Events go into the outbox of each event socket under the lock, so
that every application sees them in one order; they are sent without it, one writer at a time, as files are written.

Marks in comments: "RFC 6455 5.5.2: ..." a rule by its number; "Asterisk: ..." behaviour that is kept although it surprises;
"Not Asterisk: ..." a deliberate difference; "departure N" the same by its number in the README.
"""
from __future__ import annotations

import argparse, base64, bisect, codecs, collections, concurrent.futures, configparser, contextlib, email.utils, enum, errno
import functools, gc, glob, hashlib, heapq, hmac, html, http.server, io, itertools, json, logging, math, operator, os, re, secrets
import select, selectors, signal, socket, socketserver, ssl, stat, string, struct, sys, threading, time, traceback, urllib.parse
import uuid, warnings
from typing import Callable, Iterable, Iterator, NamedTuple

# === 1. Words and limits ===
# The words and numbers that more than one section uses, the errors with the ways to refuse, and how text and numbers are read.

logger = logging.getLogger("ari_ref")

VERSION = "16.30.1"                     # of the Asterisk whose wire this is
SERVER_NAME = "Asterisk/" + VERSION
MAX_KEPT = 100_000                      # Not Asterisk: channels, bridges, names, values, tasks of a queue: far more than tests need
PHRASES = {
    101: "Switching Protocols", 200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 400: "Bad Request",
    401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict",
    412: "Precondition Failed", 413: "Request Entity Too Large", 422: "Unprocessable Entity", 426: "Upgrade Required",
    500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable"}
TRUE_WORDS = frozenset(("yes", "true", "y", "t", "1", "on"))
INT_BITS, LONGS = 32, range(-2**63, 2**63)                  # of C's int; of C's long
US_PER_SECOND, DAY_SECONDS = 1_000_000, 86400.0
C_INTEGER = re.compile(r"[ \t-\r]*([+-]?[0-9]{1,4000})", re.ASCII)
C_NUMBER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
C_LITERAL = re.compile(r"([+-]?)(0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,22}|[1-9][0-9]{0,19})")
OPENING = {")": "(", "]": "["}
LONE_SURROGATE = re.compile("[\ud800-\udfff]")
CONTROL = re.compile("[\x00-\x1f\x7f]")

class AriError(Exception):
    """A refusal of the REST interface: status, reason phrase and the JSON that says why.

    `phrase` is given where Asterisk does not use the usual one; `member` is "error" in the few places where the JSON does not
    say {"message": ...}; without a message the answer has no body and no CORS headers; `close` ends the connection after it."""

    def __init__(self, status: int, message: str | None, phrase: str | None = None, member: str = "message",
                 headers: tuple = (), close: bool = False) -> None:
        super().__init__(status, message)
        self.status, self.message, self.phrase, self.member = status, message, phrase, member
        self.headers, self.close = headers, close

class HttpError(Exception):
    """A refusal of the HTTP server itself, shown as an HTML page; `close` as above."""

    def __init__(self, status: int, text: str, phrase: str | None = None, close: bool = True) -> None:
        super().__init__(status, text)
        self.status, self.text, self.phrase, self.close = status, text, phrase or PHRASES[status], close

class ConfigError(Exception):
    """A configuration that is refused whole: where (file:line), and the problem."""

    def __str__(self) -> str:
        return "%s: %s" % self.args

class TooLarge(ConfigError):
    """A configuration that nobody may be kept waiting for, wherever in it that shows."""

class WebSocketError(Exception):
    """A violation of RFC 6455 and the close code that answers it (section 7.4.1)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code

def require(condition: bool, status: int, message: str, phrase: str | None = None) -> None:
    """Refuse with an AriError unless `condition` holds."""
    if not condition:
        raise AriError(status, message, phrase)

def existing(thing, message: str, status: int = 404, phrase: str | None = None):
    """`thing`, refused where it is None."""
    require(thing is not None, status, message, phrase)
    return thing

def require_room(*tables) -> None:
    """Refuse what would make one of the tables larger than the model may be."""
    if any(len(table) >= MAX_KEPT for table in tables):
        raise allocation_failed()

def allocation_failed() -> AriError:
    """The answer of ari_response_alloc_failed(), which Asterisk also gives for much that is not about memory."""
    return AriError(500, "Allocation failed", member="error")

def decode(data: bytes) -> str:
    """Text that keeps bytes which are no UTF-8 as lone surrogates; encode() gives them back."""
    return data.decode("utf-8", "surrogateescape")

def encode(text: str) -> bytes:
    """The bytes that decode() made `text` of."""
    return text.encode("utf-8", "surrogateescape")

def is_utf8(text: str) -> bool:
    """False where `text` keeps bytes that are no UTF-8."""
    return text.isascii() or not LONE_SURROGATE.search(text)

def require_utf8(*texts) -> None:
    """Refuse what would be kept although it is not UTF-8 (departure 3); the last check before anything changes."""
    for item in texts:
        if isinstance(item, dict):
            require_utf8(*item, *item.values())
        elif isinstance(item, (list, tuple)):
            require_utf8(*item)
        elif isinstance(item, str):
            require(is_utf8(item), 400, "Invalid UTF-8")

def is_true(word: str) -> bool:
    """True for Asterisk's true words in any case (ast_true); everything else is false."""
    return word.lower() in TRUE_WORDS

def c_integer(word: str, bits: int = INT_BITS) -> int:
    """The number that C's atoi (32 bits) or atol (64) reads at the start of `word`; 0 where there is none."""
    match = C_INTEGER.match(word)
    return wrap_integer(max(LONGS.start, min(LONGS.stop - 1, int(match.group(1)))), bits) if match else 0

def c_real(word: str) -> float:
    """The real number at the start of `word`, at most a day; 0 where there is none."""
    match = re.match(r"\s*([0-9]{1,9}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})", word)
    return min(DAY_SECONDS, float(match.group(1))) if match else 0.0

def c_literal(word: str) -> int | None:
    """The integer that `word` is as C writes it: 16, 0x10 or 020 (strtol with base 0); None where it is none."""
    match = C_LITERAL.fullmatch(word)
    if not match:
        return None
    sign, digits = match.groups()
    return int(sign + digits, 16 if digits[:2] in ("0x", "0X") else 8 if digits.startswith("0") else 10)

def wrap_integer(number: int, bits: int = INT_BITS) -> int:
    """`number` cut to a signed integer of so many bits."""
    half = 1 << bits - 1
    return (number + half) % (1 << bits) - half

def split_quoted(text: str) -> list[str]:
    """Split at commas outside quotes, parentheses and brackets; quotes and backslashes vanish (AST_STANDARD_APP_ARGS)."""
    items, depth, is_quoted, chars = [[]], {"(": 0, "[": 0}, False, iter(text)
    for char in chars:
        if char == "\\":
            items[-1].append(next(chars, ""))
        elif char == '"':
            is_quoted = not is_quoted
        elif char == "," and not (is_quoted or depth["("] or depth["["]):
            items.append([])
        else:
            if char in depth:
                depth[char] += 1
            elif char in OPENING:
                depth[OPENING[char]] = max(0, depth[OPENING[char]] - 1)
            items[-1].append(char)
    return ["".join(item) for item in items]


# === 2. JSON and time ===
# The only dumper, the only reader and the only clock format. jansson, which Asterisk uses, differs from Python's json in two
# things: upper-case \u00XX, and what it refuses to read. Not Asterisk: reals are shown as Python shows them (departure 12).

UNPRINTABLE_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
CONTROL_ESCAPE = re.compile(r"\\(?:u(00[01][0-9a-f])|.)")
COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
PRETTY = json.JSONEncoder(ensure_ascii=False, separators=(",", ": "), indent=2)

class Encoded(dict):
    """A JSON object that never changes and is shown again and again; its compact text is made when it is first asked for."""

    @functools.cached_property
    def text(self) -> str:
        return dump_json(dict(self))

def dump_json(value, pretty: bool = False) -> str:
    """`value` as jansson writes it: compact without blanks, or pretty with two blanks a level; no newline at the end."""
    text = PRETTY.encode(value) if pretty else compact(value)
    if "\\" in text and "\\u00" in text:                  # one character is looked for ten times as fast as four
        text = CONTROL_ESCAPE.sub(lambda match: "\\u" + match.group(1).upper() if match.group(1) else match.group(), text)
    return text

def compact(value) -> str:
    """Compact JSON. Lists of snapshots, and events, are put together from the texts that are kept: 12 times as fast."""
    if type(value) is Encoded:
        return value.text
    if type(value) is list:
        return "[%s]" % ",".join(map(compact, value))
    if type(value) is dict and Encoded in map(type, value.values()):
        return "{%s}" % ",".join(['"%s":%s' % (key, compact(item)) for key, item in value.items()])
    return COMPACT.encode(value)

def add_member(text: str, key: str, value, pretty: bool) -> str:
    """The text of an object with one more member at its end."""
    if pretty:
        return '%s,\n  "%s": %s\n}' % (text[:-2], key, dump_json(value))
    return '%s,"%s":%s}' % (text[:-1], key, dump_json(value))

def encode_json(value, pretty: bool = False) -> bytes | None:
    """UTF-8 of dump_json(); None where a string holds bytes that are no UTF-8, which jansson cannot put into JSON."""
    try:
        return dump_json(value, pretty).encode()
    except UnicodeEncodeError:
        return None

def refuse_constant(name: str):
    """NaN and Infinity, which only Python takes for JSON."""
    raise ValueError(name + " is not JSON")

def bounded_integer(digits: str) -> int:
    if int(digits) not in LONGS:
        raise ValueError("integer outside 64 bits")
    return int(digits)

def finite_real(digits: str) -> float:
    """A real, unless it overflows."""
    if math.isinf(float(digits)):
        raise ValueError("real number overflow")
    return float(digits)

JANSSON = json.JSONDecoder(parse_constant=refuse_constant, parse_int=bounded_integer, parse_float=finite_real)

def load_json(data: bytes):
    """The value that jansson reads from `data`; ValueError for all that it refuses."""
    value = JANSSON.decode(data.decode("utf-8"))
    if UNPRINTABLE_ESCAPE.search(data):
        check_strings(value)
    return value

def check_strings(value) -> None:
    """Refuse \\u0000 and lone surrogates, which jansson does not take, anywhere in `value`."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend([*item, *item.values()])
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str) and ("\0" in item or not is_utf8(item)):
            raise ValueError("a string that C cannot hold")

def ari_timestamp(now: float) -> str:
    """Epoch seconds as Asterisk shows them: 2024-01-31T12:34:56.789+0000, local time with its offset."""
    second, milliseconds = divmod(int(now * 1000), 1000)
    return timestamps_of(second) % milliseconds

@functools.lru_cache(maxsize=4)
def timestamps_of(second: int) -> str:
    """What all timestamps of a second have in common, %03d where the milliseconds go."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%%03d%z", time.localtime(second))

@functools.lru_cache(maxsize=4)
def http_date(second: int) -> str:
    """RFC 9110 5.6.7: the one date form that may be sent."""
    return email.utils.formatdate(second, usegmt=True)


# === 3. WebSocket (RFC 6455) ===
# The handshake's answer, frames, and the state of one connection: bytes in, messages out, bytes to send. No socket, no
# thread. In the handshake Asterisk is laxer than the RFC and so is this (res_http_websocket.c). Frames are judged by the RFC
# (departure 1) and taken however they come (departure 7).

WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"     # RFC 6455 1.3

class Opcode(enum.IntEnum):
    """RFC 6455 5.2."""
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA

class Close(enum.IntEnum):
    """RFC 6455 7.4.1: the close codes that the server itself gives."""
    NORMAL = 1000
    PROTOCOL_ERROR = 1002
    INVALID_DATA = 1007
    TOO_BIG = 1009

SENDABLE_CLOSE_CODES = (range(1000, 1004), range(1007, 1015), range(3000, 5000))   # RFC 6455 7.4, and the IANA registry
MAX_CONTROL_BYTES = 125                 # RFC 6455 5.5
MAX_FRAME_BYTES = 65535                 # WebSocket frame with its head, and payload of a whole message
MAX_EVENT_BYTES = 2**24                 # Not Asterisk: of what a server sends
LENGTH_16, LENGTH_64 = 126, 127         # RFC 6455 5.2: the length field's escapes
VERSIONS = (7, 8, 13)                   # of the protocol, that Asterisk takes

def handshake_headers(head: Head) -> list[tuple[str, str]]:
    """The headers of the 101 answer in order; HttpError 426 without an upgrade, AriError 400 for a bad one."""
    upgrade = head.last("upgrade")
    if upgrade.lower() != "websocket":
        raise HttpError(426, "", close=False)
    offered, key = head.last("sec-websocket-protocol"), head.last("sec-websocket-key")
    version = c_integer(head.last("sec-websocket-version"))
    chosen = next((item for item in offered.split(",") if item.strip(" \t").lower() == "ari"), None)
    old_draft = offered and head.last("sec-websocket-key1") and head.last("sec-websocket-key2")
    if old_draft or (offered and chosen is None) or version not in VERSIONS or not key:
        raise AriError(400, None, headers=(("Sec-WebSocket-Version", ", ".join(map(str, VERSIONS))),))
    headers = [("Upgrade", upgrade), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept_key(key))]
    return headers + ([("Sec-WebSocket-Protocol", chosen.rstrip())] if chosen is not None else [])

def accept_key(key: str) -> str:
    """The proof that a server has read the key (RFC 6455 4.2.2 5.4)."""
    return base64.b64encode(hashlib.sha1(encode(key) + WEBSOCKET_GUID.encode()).digest()).decode()

def encode_frame(opcode: int, payload: bytes, mask: bytes = b"") -> bytes:
    """One final frame (RFC 6455 5.2; 5.1: a server never masks, a client always)."""
    size, masked = len(payload), 0x80 if mask else 0
    payload = mask + (apply_mask(mask, payload) if mask else payload)
    if size < LENGTH_16:
        return struct.pack(">BB", 0x80 | opcode, masked | size) + payload
    if size < 1 << 16:
        return struct.pack(">BBH", 0x80 | opcode, masked | LENGTH_16, size) + payload
    return struct.pack(">BBQ", 0x80 | opcode, masked | LENGTH_64, size) + payload

def close_frame(code: int, mask: bytes = b"") -> bytes:
    """A close frame with a code and no reason (RFC 6455 5.5.1)."""
    return encode_frame(Opcode.CLOSE, struct.pack(">H", code), mask)

def apply_mask(mask: bytes, payload: bytes) -> bytes:
    """`payload` with `mask` laid over it: masking and unmasking are the same (RFC 6455 5.3)."""
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")

class FrameHead(NamedTuple):
    """What stands before a payload; `size` counts the bytes of the head itself. Control frames have the high bit of `opcode`.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-------+-+-------------+-------------------------------+
    |F|R|R|R| opcode|M| length      | 16 or 64 more bits of length, |
    |I|S|S|S|       |A| (7 bits)    | when the 7 say 126 or 127;    |
    |N|V|V|V|       |S|             | then 4 bytes of mask          |"""
    is_final: bool
    opcode: int
    length: int
    mask: bytes
    size: int

    @property
    def is_control(self) -> bool:
        return bool(self.opcode & 0x8)

def parse_frame_head(buffer: bytes, is_client: bool = False) -> FrameHead | None:
    """The frame head at the start of `buffer`, None while it is incomplete; WebSocketError for what the peer may not send.

    `is_client`: it is read by a client."""
    if len(buffer) < 2:
        return None
    first, second = buffer[0], buffer[1]
    length = second & 0x7F
    extra = {LENGTH_16: 2, LENGTH_64: 8}.get(length, 0)
    size = 2 + extra + (4 if second & 0x80 else 0)
    if len(buffer) < size:
        return None
    if extra:
        length = int.from_bytes(buffer[2:2 + extra], "big")
    head = FrameHead(bool(first & 0x80), first & 0x0F, length, bytes(buffer[size - 4:size]) if second & 0x80 else b"", size)
    if first & 0x70:
        raise WebSocketError(Close.PROTOCOL_ERROR, "reserved bits without an extension (5.2)")
    if head.opcode not in Opcode.__members__.values():
        raise WebSocketError(Close.PROTOCOL_ERROR, "reserved opcode (5.2)")
    if bool(second & 0x80) == is_client:
        raise WebSocketError(Close.PROTOCOL_ERROR, "unmasked frame from a client, or a masked one from a server (5.1)")
    if extra and length < (LENGTH_16 if extra == 2 else 1 << 16) or length >> 63:
        raise WebSocketError(Close.PROTOCOL_ERROR, "length not in its shortest form, or over 63 bits (5.2)")
    if head.is_control and (not head.is_final or length > MAX_CONTROL_BYTES):
        raise WebSocketError(Close.PROTOCOL_ERROR, "control frame in fragments or over 125 bytes (5.5)")
    return head

def close_code(payload: bytes) -> int:
    """The code that answers a client's close frame (RFC 6455 5.5.1, 7.4); WebSocketError for a bad one."""
    if not payload:
        return Close.NORMAL
    code = int.from_bytes(payload[:2], "big")
    if len(payload) < 2 or not any(code in codes for codes in SENDABLE_CLOSE_CODES):
        raise WebSocketError(Close.PROTOCOL_ERROR, "close code %d (7.4)" % code)
    try:
        payload[2:].decode()
    except UnicodeDecodeError:
        raise WebSocketError(Close.INVALID_DATA, "close reason is not UTF-8 (5.5.1)") from None
    return code

class FrameParser:
    """One side of a connection after the handshake, the server's if it is not a client's.

    receive() takes bytes as they come, in pieces of any size, and returns the whole messages in them; what must go back
    (pongs, the close frame) is collected for to_send(). After a close, either side's, `close_code` is set, and
    whatever else comes is ignored."""

    def __init__(self, is_client: bool = False) -> None:
        self.is_client = is_client
        self.buffer = bytearray()
        self.head: FrameHead | None = None              # of the frame whose payload is coming in
        self.taken = 0                                  # bytes of that payload so far
        self.control = bytearray()                      # payload of a control frame
        self.message = bytearray()                      # payload of a message, over all its fragments
        self.opcode: int | None = None                  # of the message that is under way
        self.text_check = codecs.getincrementaldecoder("utf-8")()
        self.output = bytearray()
        self.close_code: int | None = None

    @property
    def is_closed(self) -> bool:
        return self.close_code is not None

    @property
    def is_inside_frame(self) -> bool:
        """True while a frame has begun and is not whole."""
        return self.head is not None or bool(self.buffer)

    def to_send(self) -> bytes:
        """What must be sent now; asking takes it away."""
        data = bytes(self.output)
        self.output.clear()
        return data

    def close(self, code: int) -> None:
        """Send a close frame, once, and hear nothing more (RFC 6455 5.5.1)."""
        if not self.is_closed:
            self.close_code = code
            self.output += close_frame(code, self.new_mask())

    def new_mask(self) -> bytes:
        """What lies over the next frame that is sent (RFC 6455 5.3)."""
        return secrets.token_bytes(4) if self.is_client else b""

    def receive(self, data: bytes) -> list[tuple[int, bytes]]:
        """The messages that `data` completes, as (opcode, payload)."""
        messages: list[tuple[int, bytes]] = []
        self.buffer += data
        try:
            while not self.is_closed and self.step(messages):
                pass
        except WebSocketError as error:
            self.close(error.code)
        return messages

    def step(self, messages: list[tuple[int, bytes]]) -> bool:
        """Take one frame head, or what is there of a payload; False when more bytes are needed."""
        if self.head is None:
            self.head = parse_frame_head(self.buffer, self.is_client)
            if self.head is None:
                return False
            self.check_sequence(self.head)
            del self.buffer[:self.head.size]
        head, offset = self.head, self.taken % 4
        piece = bytes(self.buffer[:head.length - self.taken])
        del self.buffer[:len(piece)]
        self.taken += len(piece)
        if head.mask:
            piece = apply_mask(head.mask[offset:] + head.mask[:offset], piece)
        whole = self.taken == head.length
        if head.is_control:
            self.control += piece
        else:
            self.add_to_message(piece, whole and head.is_final)
        if whole:
            self.head, self.taken = None, 0
            self.end_frame(head, messages)
        return whole

    def check_sequence(self, head: FrameHead) -> None:
        """Refuse a data frame out of its place (RFC 6455 5.4), and what is larger than Asterisk takes (10.4)."""
        if head.is_control:
            return                      # in place anywhere, and at most 125 bytes
        if (head.opcode == Opcode.CONTINUATION) != (self.opcode is not None):
            raise WebSocketError(Close.PROTOCOL_ERROR, "a continuation of nothing, or a message inside another (5.4)")
        limit = MAX_EVENT_BYTES if self.is_client else MAX_FRAME_BYTES
        if max(head.size, len(self.message)) + head.length > limit:
            raise WebSocketError(Close.TOO_BIG, "frame or message over %d bytes" % limit)
        if self.opcode is None:
            self.opcode = head.opcode

    def add_to_message(self, piece: bytes, is_last: bool) -> None:
        """Keep a piece of payload; text is checked as it comes (RFC 6455 8.1)."""
        self.message += piece
        if self.opcode == Opcode.TEXT:
            try:
                self.text_check.decode(piece, is_last)
            except UnicodeDecodeError:
                raise WebSocketError(Close.INVALID_DATA, "text that is not UTF-8 (8.1)") from None

    def end_frame(self, head: FrameHead, messages: list[tuple[int, bytes]]) -> None:
        """Act on a whole frame."""
        if head.is_control:
            payload = bytes(self.control)
            self.control.clear()
            if head.opcode == Opcode.PING:
                self.output += encode_frame(Opcode.PONG, payload, self.new_mask())      # RFC 6455 5.5.3
            elif head.opcode == Opcode.CLOSE:
                self.close(close_code(payload))
        elif head.is_final:
            messages.append((self.opcode, bytes(self.message)))
            self.message.clear()
            self.opcode = None          # and text_check is at its start: it was told that this was the last piece


# === 4. Configuration ===
# The text of ari.conf and http.conf to Config and HttpConfig. Asterisk's dialect (templates, includes, block comments, `\;`,
# `=>`, `+=`, equal names) is translated to plain INI, which configparser reads. Also the one place that knows crypt(3).
# Rules: main/config.c, main/config_options.c, res/ari/config.c, main/http.c of Asterisk 16.30.1.

HTTP_PORT, HTTPS_PORT, MAX_PORT = 8088, 8089, 65535
MAX_CREDENTIAL_BYTES = 255              # decoded user:password, and a configured password
MAX_REALM_BYTES = 79
MAX_CONFIG_LINE_BYTES = 8191            # Asterisk's (main/config.c)
MAX_INCLUDE_DEPTH = 10                  # Asterisk's (main/config.c)
MAX_CONFIG_FILES = 1000                 # of one configuration, so that files which include each other end
MAX_CONFIG_BYTES = 2**20                # of one file: the largest in the field has some 100 kB
MAX_INCLUDED_BYTES = 2**23              # of all that a file includes
MAX_CONFIG_STEPS = 2_000_000            # lines, what is inherited, and looks at options and sections: seconds
MAX_OPTION = 2**31 - 1                  # of an option that is a number
UTF8_BOM = b"\xef\xbb\xbf"
DIRECTIVE = re.compile(r"([^\x00-\x20]*)[\x00-\x20]*(.*)", re.DOTALL)
COMMENT_MARK = re.compile(r"\\;|;--(?!-)|(?:--)?;(?!--(?!-))")
ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^/\s]+|null")            # RFC 6454 6.2
# What a crypt(3) hash says of how it was made: $scheme$ and its cost. Without it the hash is a traditional one of 13 characters.
HASH_KIND = re.compile(r"(\$(?:[56]\$(?:rounds=[0-9]+\$)?|2[abxy]\$[0-9]{2}\$|(?:g?y|7)\$[^$]*\$|[0-9a-z]+\$))|[./0-9A-Za-z]{13}$")
CRYPT_DATA_BYTES = 131_072              # more than any struct crypt_data
PROOF_KEY = secrets.token_bytes(16)
MAX_REFUSED = 1000                      # pairs of name and word that are not hashed again
EXTENSION_PIECE = re.compile(r"\[[^\]]*\]|.", re.DOTALL)
GLOBAL = re.compile(r"\$\{(\w+)\}")
PRIORITY = re.compile(r"(?:([0-9]{1,9})|([ns]))(?:\+([0-9]{1,9}))?(?:\((.+)\))?")
APPLICATIONS = {name.lower(): name for name in (       # of the dialplan, that are known here
    "Answer Goto GotoIf Hangup NoOp Playback Progress Ringing Set Stasis Verbose Wait").split()}
FALSE_WORDS = frozenset(("no", "false", "n", "f", "0", "off"))          # of whoever means it

class Section:
    """One [name] of a file: its options in order as (name, value, where), where being file:line."""

    def __init__(self, name: str, where: str) -> None:
        self.name, self.where, self.is_template = name, where, False
        self.options: list[tuple[str, str, str]] = []

    def add(self, line: str, where: str) -> int:
        """Add `name = value`, `name => value` or `name += more`; a backslash before the name is dropped. What it costs."""
        name, _, value = (line[1:] if line.startswith("\\") else line).partition("=")
        if name.endswith("+"):
            name = name[:-1].strip()
            last = next((old for known, old, _ in reversed(self.options) if known == name), None)
            if last is not None:
                # Asterisk: the first option of that value is replaced, or of any when it is "" (ast_variable_update).
                at = next(at for at, (known, old, _) in enumerate(self.options)
                          if known.lower() == name.lower() and last.lower() in ("", old.lower()))
                self.options[at] = (name, (last + value).strip(), where)
                return len(self.options) + len(last) // 1000
        self.options.append((name.strip(), value[1:].strip() if value.startswith(">") else value.strip(), where))
        return 0

class ConfigReader:
    """Reads the text of a file, includes and all, into `sections`; ConfigError for a fault of its syntax.

    `included(pattern)` gives the files of an #include as [(path, bytes)]; `warnings` holds what was skipped."""

    def __init__(self, text: bytes, path: str, included: Callable[[str], list[tuple[str, bytes]]]) -> None:
        self.included, self.warnings, self.sections = included, [], []
        self.named: dict[str, list[Section]] = {}       # the same by name in lower case
        self.current: Section | None = None             # the one that was opened last
        self.files_left, self.steps_left = MAX_CONFIG_FILES, MAX_CONFIG_STEPS
        self.read_files([(path, text)], 0)

    def read_files(self, files: list[tuple[str, bytes]], depth: int) -> None:
        """Read files as one: into the section opened last, whoever opened it, until they open sections of their own."""
        section = self.current
        for where, line in self.plain_lines(files):
            if line.startswith("["):
                section = self.current = self.open_section(line, where)
            elif line.startswith("#"):
                self.include(line[1:], where, depth)
            elif "=" not in line or line.startswith("=") or not line.lstrip("+="):
                self.warnings.append("%s: no 'name = value' here, ignored" % where)
            elif section is None:
                raise ConfigError(where, "an option before the first [section]")
            else:
                self.spend(section.add(line, where), where)

    def spend(self, steps: int, where: str) -> None:
        """Not Asterisk: what files can have this do is bounded, however they name each other."""
        self.steps_left -= steps
        if self.steps_left < 0:
            raise TooLarge(where, "the configuration takes more than %d steps to read" % MAX_CONFIG_STEPS)

    def plain_lines(self, files: list[tuple[str, bytes]]) -> Iterator[tuple[str, str]]:
        """Yield (where, line) of the lines that hold something, trimmed and without comments."""
        depth, opened = 0, ""
        for count, (path, text) in enumerate(files):
            if not count and text.startswith(UTF8_BOM):
                text = text[len(UTF8_BOM):]
            for number, raw in enumerate(text.split(b"\n"), 1):
                where = "%s:%d" % (path, number)
                self.spend(1, where)
                if len(raw) > MAX_CONFIG_LINE_BYTES:
                    self.warnings.append("%s: line over %d bytes, ignored" % (where, MAX_CONFIG_LINE_BYTES))
                    continue
                opened = opened if depth else where
                line, depth = strip_comments(decode(raw.partition(b"\0")[0]), depth)     # C reads no further
                if line.strip():
                    yield where, line.strip()
        if depth:
            self.warnings.append("%s: block comment without end, the rest of the file is lost" % opened)

    def open_section(self, line: str, where: str) -> Section:
        """Handle [name], [name](!), [name](base,...) and [name](+); the name is kept untrimmed."""
        name, closed, rest = line[1:].partition("]")
        if not closed:
            raise ConfigError(where, "a '[' without its ']'")
        inside, closed, _ = rest[1:].partition(")")
        if rest.startswith("(") and not closed:
            raise ConfigError(where, "a '(' without its ')'")
        section, is_new = Section(name, where), True
        for mark in inside.split(",") if rest.startswith("(") else ():
            if mark == "!":
                section.is_template = True
            elif mark != "+":
                options = self.find_section(mark, where).options
                self.spend(sum(1 + len(value) // 16 for _, value, _ in options), where)
                section.options.extend(options)
            else:
                known = self.find_section(name, where, finds_templates=False)
                if known is not section:
                    known.options.extend(section.options)
                    known.is_template, section, is_new = section.is_template, known, False
        if is_new:
            self.sections.append(section)
            self.named.setdefault(name.lower(), []).append(section)
        return section

    def find_section(self, name: str, where: str, finds_templates: bool = True) -> Section:
        """The first section of that name in any case. Asterisk: of any name for an empty one (does_category_match)."""
        for section in self.named.get(name.lower(), ()) if name else self.sections:
            self.spend(1, where)
            if finds_templates or not section.is_template:
                return section
        raise ConfigError(where, "no section [%s] before this line" % name)

    def include(self, text: str, where: str, depth: int) -> None:
        """Handle #include and #tryinclude of a file name or pattern.

        Asterisk: a fault in an included file costs the rest of that file only (config_text_file_load)."""
        word, pattern = DIRECTIVE.fullmatch(text).groups()
        if pattern[:1] + pattern[-1:] in ('""', "<>"):
            pattern = pattern[1:-1]
        if word.lower() not in ("include", "tryinclude") or not pattern:
            self.warnings.append("%s: '#' is ignored but for #include FILE; a comment begins with ';'" % where)
            return
        if depth >= MAX_INCLUDE_DEPTH:
            raise ConfigError(where, "includes nested deeper than %d" % MAX_INCLUDE_DEPTH)
        try:
            files = self.included(pattern)
        except OSError as error:
            raise ConfigError(where, "%s cannot be included: %s" % (error.filename, error.strerror)) from None
        self.files_left -= len(files)
        if self.files_left < 0:
            raise TooLarge(where, "more than %d files in all" % MAX_CONFIG_FILES)
        if not files and word.lower() == "include":
            raise ConfigError(where, "the included file %s is not there" % pattern)
        try:
            self.read_files(files, depth + 1)
        except TooLarge:
            raise
        except ConfigError as error:
            self.warnings.append("%s; the rest of the included file is lost" % error)

    def read(self) -> Iterator[tuple[Section, list[tuple[str, str, str]]]]:
        """Yield every section that is no template, with its options in order: (name in lower case, value, where).

        What is left of Asterisk's dialect is plain INI, and configparser has the last word on that. It keeps each name but once,
        where Asterisk handles equal names one after the other: so every option is given to it under a number."""
        kept = [section for section in self.sections if not section.is_template]
        parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=(), inline_comment_prefixes=None,
                                              empty_lines_in_values=False)
        parser.read_string("".join("[%d]\n" % at + "".join(
            "%d = %s\n" % (number, value) for number, (_, value, _) in enumerate(section.options))
            for at, section in enumerate(kept)))
        for at, section in enumerate(kept):
            yield section, [(name.lower(), value, where) for (_, value), (name, _, where) in zip(
                parser.items(str(at)), section.options)]

def strip_comments(line: str, depth: int) -> tuple[str, int]:
    """`line` without `; ...` and without `;-- ... --;`, which nests and spans lines; and the depth after it."""
    kept, start = [], 0
    for match in COMMENT_MARK.finditer(line):
        mark = match.group()
        if not depth:
            kept.append(line[start:match.start()] + {"\\;": ";", "--;": "--"}.get(mark, ""))
        if mark == ";--":
            depth += 1
        elif mark == "--;" and depth:
            depth -= 1
        elif mark != "\\;" and not depth:
            return "".join(kept), 0
        start = match.end()
    return "".join(kept) + ("" if depth else line[start:]), depth

class User:
    """Somebody who may log in: name, password (plain or a crypt(3) hash), and whether only reading is allowed.

    `proof` here and `refused` in Config are what logins have shown: any thread may set them, at any time, to what is true."""

    def __init__(self, name: str) -> None:
        self.name, self.password, self.is_crypted, self.is_read_only = name, "", False, False
        self.proof = b""                # of the name and the word that crypt(3) has found to be right

class Config:
    """ari.conf as it takes effect: the defaults, until read_config() sets what the file says."""

    def __init__(self, is_enabled: bool = True) -> None:
        self.is_enabled, self.is_pretty, self.auth_realm = is_enabled, False, "Asterisk REST Interface"
        self.allowed_origins, self.write_timeout_ms = frozenset(), 100
        self.channelvars: list[str] | None = None       # None: the file does not say
        self.users: dict[str, User] = {}                # by name in lower case
        self.hashes: dict[str, str] = {}                # a stored hash of each kind, as hash_kind() tells them
        self.refused: set[bytes] = set()                # proofs of names with words that are known to be wrong
        self.warnings: list[str] = []

class HttpConfig:
    """http.conf [general] as it takes effect; times in seconds, addresses HOST, HOST:PORT or [IPV6]:PORT."""

    def __init__(self) -> None:
        self.is_enabled, self.address, self.port, self.prefix = True, "127.0.0.1", HTTP_PORT, ""
        self.server_name, self.session_limit, self.has_status = SERVER_NAME, 100, True
        self.inactivity, self.keep_alive = 30.0, 15.0
        self.has_tls, self.tls_address, self.tls_port = False, "", HTTPS_PORT
        self.tls_certificate, self.tls_key = "asterisk.pem", ""
        self.has_control = False                        # no option of the file: whether /control is served
        self.where: dict[str, str] = {}                 # file:line of each attribute that a file has set
        self.warnings: list[str] = []

    def listeners(self) -> list[tuple[str, int, bool]]:
        """(host, port, whether it speaks TLS) of what is listened on: HTTP first, then HTTPS (main/http.c, __ast_http_load)."""
        found = []
        if self.is_enabled and self.address:
            found.append((*split_address(self.address, self.port), False))
        if self.has_tls and (self.tls_address or found):
            found.append((*split_address(self.tls_address or found[0][0], self.tls_port), True))
        return found

def split_address(address: str, port: int) -> tuple[str, int]:
    """(host, port) of HOST, HOST:PORT, [IPV6] or [IPV6]:PORT, `port` where it has none (ast_sockaddr_split_hostport)."""
    host, in_brackets, rest = address[1:].partition("]") if address.startswith("[") else ("", "", "")
    if not in_brackets:
        host, rest = (address, "") if address.count(":") > 1 else address.partition(":")[::2]
    digits = rest.lstrip(":")
    return host, int(digits) if C_NUMBER.fullmatch(digits) and 0 < int(digits) <= MAX_PORT else port

def option_number(word: str, least: int = 0, most: int = MAX_OPTION) -> int:
    """A number as an option may hold it; ValueError says what it must be, as with all that read options."""
    number = c_literal(word)
    if number is None or not least <= number <= most:
        raise ValueError("a whole number from %d to %d" % (least, most))
    return number

def from_milliseconds(milliseconds: str, least: int = 0) -> float:
    """The option as seconds."""
    return option_number(milliseconds, least) / 1000

def is_crypt(word: str) -> bool:
    """True for the format crypt, False for plain."""
    if word.lower() not in ("plain", "crypt"):
        raise ValueError("plain or crypt")
    return word.lower() == "crypt"

def variable_names(value: str) -> list[str]:
    """The names of `channelvars`; they are shown with every channel, and so must be UTF-8."""
    if not is_utf8(value):
        raise ValueError("UTF-8")
    return list(dict.fromkeys(split_quoted(value))) if value else []

def header_text(value: str) -> str:
    """What stands in a header of every answer."""
    if CONTROL.search(value):
        raise ValueError("without control characters")
    return value

def url_prefix(path: str) -> str:
    """What stands before /ari: "" or /path."""
    return ("/" + path.strip("/")).rstrip("/")

# Option: the attribute that it sets, and what its value comes to; ValueError says what it must be.
GENERAL_OPTIONS = {
    "enabled": ("is_enabled", is_true), "pretty": ("is_pretty", is_true),
    "auth_realm": ("auth_realm", lambda value: header_text(decode(encode(value)[:MAX_REALM_BYTES]))),
    "allowed_origins": ("allowed_origins", lambda value: frozenset(value.split(",")) - {""}),
    "channelvars": ("channelvars", variable_names),
    "websocket_write_timeout": ("write_timeout_ms", lambda value: option_number(value, 1))}
USER_OPTIONS = {
    "password": ("password", lambda value: decode(encode(value)[:MAX_CREDENTIAL_BYTES])),
    "password_format": ("is_crypted", is_crypt), "read_only": ("is_read_only", is_true)}
HTTP_OPTIONS = {
    "enabled": ("is_enabled", is_true), "bindaddr": ("address", str), "enable_status": ("has_status", is_true),
    "bindport": ("port", lambda value: option_number(value, 0, MAX_PORT) or HTTP_PORT),
    "prefix": ("prefix", lambda value: value and "/" + value), "servername": ("server_name", header_text),
    "sessionlimit": ("session_limit", lambda value: option_number(value, 1)),
    "session_inactivity": ("inactivity", lambda value: from_milliseconds(value, 1)),
    "session_keep_alive": ("keep_alive", from_milliseconds),
    **dict.fromkeys(("tlsenable", "sslenable"), ("has_tls", is_true)),
    **dict.fromkeys(("tlsbindaddr", "sslbindaddr"), ("tls_address", str)),
    **dict.fromkeys(("tlscertfile", "tlscert", "sslcert"), ("tls_certificate", str)),
    **dict.fromkeys(("tlsprivatekey", "sslprivatekey"), ("tls_key", str))}

def doubt(name: str, value: str, convert: Callable) -> str:
    """Why a value that is taken will hardly do what its author meant; "" where nothing tells so."""
    origins = [origin for origin in value.split(",") if origin not in ("", "*")] if name == "allowed_origins" else []
    if "${" in value:
        return "${...} is not replaced by anything"
    if convert is is_true and value.lower() not in TRUE_WORDS | FALSE_WORDS:
        return "it is neither yes nor no, and counts as no"
    if any(origin != origin.strip() for origin in origins):
        return "an origin with a blank at its side is never sent by a browser: write a,b"
    if any(not ORIGIN.fullmatch(origin) for origin in origins):
        return "an origin is scheme://host or scheme://host:port, such as http://localhost:3000"
    if name == "auth_realm" and '"' in value:
        return "its quotation mark ends the realm that a client reads"
    if name == "password" and len(encode(value)) > MAX_CREDENTIAL_BYTES:
        return "only its first %d bytes count" % MAX_CREDENTIAL_BYTES
    if name == "channelvars" and value != value.replace(", ", ",").replace(" ,", ","):
        return "the blank is part of a name: write A,B"
    if any(origin != origin.lower() or origin.endswith((":80", ":443")) for origin in origins):
        return "a browser sends an origin in small letters, and without a usual port"
    if name == "prefix" and re.search(r"[?#\s]", value):
        return "no path holds that"
    if name == "prefix" and "/" in value:
        return "it begins with a slash of its own, so that this one is another"
    return ""

def set_option(target: Config | User | HttpConfig, table: dict, name: str, value: str, where: str, warnings: list[str]) -> None:
    """Set what an option stands for, with a warning where that is in doubt; ConfigError for a value that is not allowed."""
    if name not in table:
        raise ConfigError(where, "unknown option '%s'" % name)
    attribute, convert = table[name]
    try:
        setattr(target, attribute, convert(value))
    except ValueError as error:
        raise ConfigError(where, "%s must be %s, not '%s'" % (name, error, value)) from None
    reason = doubt(name, value, convert)
    if reason:
        warnings.append("%s: %s: %s" % (where, name, reason))

def parse_config(text: bytes, path: str = "ari.conf", included: Callable[[str], list] = lambda pattern: []) -> Config:
    """The text of ari.conf as Config; ConfigError when Asterisk would refuse it, and then nothing of it counts (departure 12)."""
    config, reader = Config(), ConfigReader(text, path, included)
    config.warnings = reader.warnings
    for section, options in reader.read():
        target, table = config, GENERAL_OPTIONS
        if section.name.lower() != "general":
            kind, where = next(((value, where) for name, value, where in options if name == "type"), ("", section.where))
            if kind.lower() != "user":
                raise ConfigError(where, "[%s] needs type = user" % section.name)
            options = [option for option in options if option[0] != "type"]
            target, table = config.users.setdefault(section.name.lower(), User(section.name)), USER_OPTIONS
        for name, value, where in options:
            set_option(target, table, name, value, where, config.warnings)
        if isinstance(target, User):
            config.warnings += ["%s: user '%s' %s" % (section.where, target.name, reason) for reason in user_doubts(target)]
    config.hashes = {hash_kind(user.password): user.password for user in config.users.values()
                     if user.is_crypted and hash_kind(user.password) is not None}
    if not config.users:
        config.warnings.append("%s: no users, nobody can log in" % path)
    return config

def user_doubts(user: User) -> list[str]:
    """Why a user cannot log in."""
    return [reason for reason, holds in (
        ("has no password and cannot log in", not user.password),
        ("has a name and password that are together over %d bytes, and cannot log in" % MAX_CREDENTIAL_BYTES,
         len(encode(user.name + ":" + user.password)) > MAX_CREDENTIAL_BYTES and not user.is_crypted),
        ("has a ':' in the name, and cannot log in by Basic authentication", ":" in user.name),
        ("has a password that is no crypt(3) hash, and cannot log in",
         user.is_crypted and user.password and hash_kind(user.password) is None)) if holds]

def parse_http_config(text: bytes, path: str = "http.conf", included: Callable[[str], list] = lambda pattern: []) -> HttpConfig:
    """The text of http.conf as HttpConfig; what is not allowed, or has no effect here, is passed over with a warning."""
    config, reader = HttpConfig(), ConfigReader(text, path, included)
    config.warnings, config.is_enabled, config.address = reader.warnings, False, ""
    for section, options in reader.read():
        if section.name.lower() != "general":
            config.warnings.append("%s: [%s] ignored" % (section.where, section.name))
            continue
        for name, value, where in options:
            if name not in HTTP_OPTIONS:
                config.warnings.append("%s: option '%s' has no effect here" % (where, name))
                continue
            try:
                set_option(config, HTTP_OPTIONS, name, value, where, config.warnings)
                config.where[HTTP_OPTIONS[name][0]] = where
            except ConfigError as error:                # Asterisk: the default counts, whatever stood before (__ast_http_load)
                attribute, _ = HTTP_OPTIONS[name]
                setattr(config, attribute, getattr(HttpConfig(), attribute))
                config.warnings.append("%s: the default counts" % error)
    if config.is_enabled and not config.address:
        config.warnings.append("%s: no bindaddr in [general], so that HTTP listens nowhere" % path)
    return config

class Extension:
    """An extension of a context, or a pattern of some: its steps by priority, (application, data), and its labels."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.steps: dict[int, tuple[str, str]] = {}     # ("", "") where the application is not known
        self.labels: dict[str, int] = {}
        self.regex, self.width = extension_pattern(pattern)

    def matches(self, exten: str) -> bool:
        """Asterisk: dashes do not count where there is a pattern (_extension_match_core)."""
        return bool(self.regex.fullmatch(exten.replace("-", "") if self.pattern.startswith("_") else exten))

class Context:
    """A context of the dialplan: its extensions, those of them that are patterns, and the contexts that it includes."""

    def __init__(self) -> None:
        self.extensions: dict[str, Extension] = {}
        self.patterns: list[Extension] = []
        self.includes: list[str] = []

    def extension(self, pattern: str) -> Extension:
        """The extension of that name, made where there is none; re.error for a pattern that cannot be."""
        if pattern not in self.extensions:
            self.extensions[pattern] = Extension(pattern)
            if pattern.startswith("_"):
                self.patterns.append(self.extensions[pattern])
        return self.extensions[pattern]

class DialplanConfig:
    """extensions.conf as it takes effect."""

    def __init__(self) -> None:
        self.contexts: dict[str, Context] = {}
        self.globals: dict[str, str] = {}
        self.warnings: list[str] = []

    def matching(self, context: str, exten: str) -> Iterator[Extension]:
        """The extensions that are, or match, `exten`: the narrowest first, then those of included contexts (ext_cmp1)."""
        seen, left = set(), [context]
        while left:
            here = self.contexts.get(left.pop())
            if here is None or here in seen:
                continue
            seen.add(here)
            exact = here.extensions.get(exten)          # a pattern has a name, too, which nobody dials
            yield from [exact] if exact and not exact.pattern.startswith("_") else ()
            yield from sorted((extension for extension in here.patterns if extension.matches(exten)), key=lambda found: found.width)
            left.extend(reversed(here.includes))

    def step(self, context: str, exten: str, priority: int) -> tuple[str, str] | None:
        """What stands at a place; None where nothing does."""
        return next((extension.steps[priority] for extension in self.matching(context, exten) if priority in extension.steps), None)

    def label(self, context: str, exten: str, label: str) -> int | None:
        """The priority of a label; None where there is none."""
        return next((extension.labels[label] for extension in self.matching(context, exten) if label in extension.labels), None)

def extension_pattern(pattern: str) -> tuple[re.Pattern, tuple[int, ...]]:
    """A regular expression for a name or a pattern such as _NXX, and how many characters each of its places takes; re.error for
    a range that runs backwards. What stands behind the first . or ! does not count (_extension_match_core)."""
    if not pattern.startswith("_"):
        return re.compile(re.escape(pattern)), ()
    parts, widths = [], []
    for piece in EXTENSION_PIECE.findall(pattern[1:].replace("-", "") if "[" not in pattern else pattern[1:]):
        found, width = {"X": ("[0-9]", 10), "Z": ("[1-9]", 9), "N": ("[2-9]", 8), ".": (".+", 300), "!": (".*", 301)}.get(
            piece.upper(), (re.escape(piece), 1))
        if len(piece) > 1:              # a class
            inside = re.sub(r"([\\\[\]^])", r"\\\1", piece[1:-1])
            found, width = "[%s]" % inside if inside else "(?!)", len(piece)
        parts.append(found)
        widths.append(width)
        if piece in (".", "!"):
            break
    return re.compile("".join(parts), re.DOTALL), tuple(widths)

def kept_options(section: Section, warnings: list[str]) -> Iterator[tuple[str, str, str]]:
    """The options of a section that events can tell of: what is not UTF-8 is told and passed over."""
    for name, value, where in section.options:
        if is_utf8(section.name + name + value):
            yield name, value, where
        else:
            warnings.append("%s: not UTF-8, ignored" % where)

def parse_extensions(text: bytes, path: str = "extensions.conf",
                     included: Callable[[str], list] = lambda pattern: []) -> DialplanConfig:
    """The text of extensions.conf (pbx_config.c, pbx_load_config); what is not known here is told and passed over."""
    config, reader = DialplanConfig(), ConfigReader(text, path, included)
    config.warnings = reader.warnings
    for section in reader.sections:
        if section.name.lower() == "globals":
            for name, value, where in kept_options(section, config.warnings):      # with those before it
                value = GLOBAL.sub(lambda match: config.globals.get(match.group(1), ""), value)
                if len(value) > MAX_CONFIG_LINE_BYTES:  # Not Asterisk
                    config.warnings.append("%s: a global over %d characters, ignored" % (where, MAX_CONFIG_LINE_BYTES))
                else:
                    config.globals[name] = value
        elif section.name.lower() != "general" and not section.is_template:
            context, last = config.contexts.setdefault(section.name, Context()), None
            for name, value, where in kept_options(section, config.warnings):
                if name.lower() in ("exten", "same"):
                    last = add_step(context, value if name.lower() == "exten" else None, value, last, where, config.warnings)
                elif name.lower() == "include":
                    context.includes.append(value.partition(",")[0].strip())
                    if "," in value:
                        config.warnings.append("%s: the times of an include have no effect here, it always counts" % where)
                else:
                    config.warnings.append("%s: %s has no effect here" % (where, name))
    for name, context in config.contexts.items():
        config.warnings += ["%s: [%s] includes the context %s, which is not there" % (path, name, included)
                            for included in context.includes if included not in config.contexts]
        config.warnings += ["%s: %s in [%s] has no priority 1, where every call begins" % (path, extension.pattern, name)
                            for extension in context.extensions.values() if 1 not in extension.steps]
    return config

def parse_phones(text: bytes, path: str = "pjsip.conf",
                 included: Callable[[str], list] = lambda pattern: []) -> tuple[list[tuple], list[str]]:
    """(name, context, caller id) of the endpoints of pjsip.conf, and warnings; nothing else of it is looked at (res_pjsip)."""
    phones, reader = [], ConfigReader(text, path, included)
    for section, options in reader.read():
        given = {name: value for name, value, _ in options}
        if given.get("type", "").lower() != "endpoint":
            continue
        if is_utf8(section.name + "".join(given.values())):
            phones.append((section.name, given.get("context", "default"), given.get("callerid", "")))
        else:
            reader.warnings.append("%s: [%s] is not UTF-8, ignored" % (section.where, section.name))
    return phones, reader.warnings

def add_step(context: Context, named: str | None, value: str, last: tuple[Extension, int] | None, where: str,
             warnings: list[str]) -> tuple[Extension, int] | None:
    """Add EXTEN,PRIORITY(LABEL),APPLICATION(DATA), or what stands behind EXTEN in a `same`; (extension, priority) of it."""
    if named is not None:
        exten, _, value = value.partition(",")
        try:
            extension = context.extension(exten.strip())
        except re.error:
            warnings.append("%s: no pattern: %s, ignored" % (where, exten.strip()))
            return last
        last = (extension, last[1] if last and last[0] is extension else max(extension.steps, default=0))
    priority, _, call = value.partition(",")
    match = PRIORITY.fullmatch(priority.strip())
    if not (last and match and call.strip()):
        warnings.append("%s: no EXTEN,PRIORITY,APPLICATION here, ignored" % where)
        return last
    number, follows, plus, label = match.groups()
    at = int(number) if number else last[1] + (follows == "n") + int(plus or 0)
    app, bracket, data = call.strip().partition("(")
    known = APPLICATIONS.get(app.strip().lower())
    if known is None:
        warnings.append("%s: the application %s is not known here, and is skipped" % (where, app.strip()))
    last[0].steps[at] = (known, data.rpartition(")")[0] if bracket else "") if known else ("", "")
    if label:
        last[0].labels[label] = at
    return last[0], at

def read_file(path: str, limit: int = MAX_CONFIG_BYTES) -> bytes:
    """The bytes of a plain file; OSError for what is none, is larger, or cannot be read. It never waits."""
    with open_plain(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, "larger than %d bytes" % limit, path)
    return data

def open_plain(path: str, mode: str = "rb"):
    """A plain file, open; OSError for what is none, such as a pipe that nobody writes to."""
    file = open(path, mode, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK, 0o666))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a plain file", path)
    return file

def parse_file(parse: Callable, path: str):
    """parse() of a file whose includes are relative to its folder; OSError when it cannot be read."""
    folder, left = os.path.dirname(os.path.abspath(path)), MAX_INCLUDED_BYTES
    def included(pattern: str) -> list[tuple[str, bytes]]:
        nonlocal left
        files = []
        for found in sorted(glob.glob(os.path.join(glob.escape(folder), pattern)))[:MAX_CONFIG_FILES + 1]:
            if not os.path.isdir(found):
                files.append((found, read_file(found, min(MAX_CONFIG_BYTES, left))))
                left -= len(files[-1][1])
        return files
    return parse(read_file(path), path, included)

def read_config(path: str) -> Config:
    """ari.conf at `path`, or its text, as Config; ConfigError when it is refused, OSError when it cannot be read."""
    return parse_config(encode(path)) if "\n" in path else parse_file(parse_config, path)

def hash_kind(stored: str) -> str | None:
    """How a crypt(3) hash was made, which is what it costs; None for what is no hash."""
    match = HASH_KIND.match(stored)
    return match.group(1) or "" if match else None

@functools.lru_cache(maxsize=1)
def crypt_function() -> Callable[[str, str], str | None] | None:
    """The system's crypt(3) of (word, setting): libcrypt's, which lets other threads run meanwhile, else that of the module
    which Python has up to 3.12; None without one."""
    import ctypes.util
    library = ctypes.CDLL(ctypes.util.find_library("crypt"))
    if hasattr(library, "crypt_r"):
        library.crypt_r.restype, library.crypt_r.argtypes = ctypes.c_char_p, [ctypes.c_char_p] * 3
        return lambda word, setting: decode(library.crypt_r(
            encode(word), encode(setting), ctypes.create_string_buffer(CRYPT_DATA_BYTES)) or b"")
    if sys.version_info >= (3, 13):
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)             # 3.11 and 3.12 announce the module's removal
        import crypt
    return crypt.crypt

ONE_CRYPT = threading.Lock()            # so that many wrong words at a time do not take all processors
HASHING = threading.local()             # its `before`, if any, is what a thread does before crypt(3), which takes its time

def hash_password(word: str, setting: str) -> str:
    """crypt(3) of `word` with `setting`; "" where crypt fails or is missing, which no stored hash equals."""
    function = crypt_function()
    try:
        with ONE_CRYPT:
            hashed = function(word, setting) if function else None
    except (OSError, ValueError):       # a scheme that crypt(3) does not know; a word that is not UTF-8
        hashed = None
    return hashed if hashed and not hashed.startswith("*") else ""

def password_matches(name: str, word: str, config: Config) -> User | None:
    """The user of that name, if `word` is the password.

    Departure 8: the time taken does not tell who exists. A refusal costs a crypt(3) of each kind that there is, whoever it names;
    what was refused once, or was right once, is not hashed again, as clients send the same with every request."""
    user = config.users.get(name.lower())
    stored = user.password if user else ""
    if stored and not user.is_crypted and hmac.compare_digest(encode(word), encode(stored)):
        return user
    proof = hmac.digest(PROOF_KEY, encode(name.lower() + "\0" + word), "sha256")
    if stored and user.is_crypted and hmac.compare_digest(proof, user.proof):
        return user
    if proof in config.refused:
        return None
    own = {hash_kind(stored): stored} if user and user.is_crypted and stored else {}
    for setting in {**config.hashes, **own}.values():
        if hasattr(HASHING, "before"):
            HASHING.before()
        if hmac.compare_digest(encode(hash_password(word, setting)), encode(setting)) and setting == stored:
            user.proof = proof
            return user
    if len(config.refused) >= MAX_REFUSED:
        config.refused.clear()
    config.refused.add(proof)
    return None


# === 5. HTTP: a connection ===
# Requests out of bytes and responses into bytes; bodies into parameters, credentials, CORS. Bytes come from whatever can
# read(seconds): no socket here, and no operation. Rules: main/http.c and res/res_ari.c of Asterisk 16.30.1; RFC 9112 where
# Asterisk is lax about where a body ends (departure 2).

BLANKS = bytes(range(1, 33))            # what Asterisk trims (ast_skip_blanks): every byte up to the blank, NUL apart
MAX_LINE_BYTES = 4095                   # request line or header line, line end included (http.c)
MAX_FIELDS = 100                        # header fields of one request (http.c)
MAX_HEAD_LINES = 1000                   # Not Asterisk: lines that are no fields are bounded too, as all that a client may pile up
MAX_BODY_BYTES = 40960                  # form or JSON body (http.c)
MAX_CONTENT_LENGTH = 2**31 - 1          # also the largest chunk; departure 2: a length is never read modulo 2^32
HEAD_SECONDS = 30.0                     # departure 9: a request head, from its first byte
TRANSFER_SECONDS = 30.0                 # departure 9: a body or an answer, and a second more for each
TRANSFER_RATE = 10_000                  # bytes of it
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS")
REQUEST_LINE = re.compile(rb"[\x01-\x20]*([^\x00-\x20]+)[\x01-\x20]+([^\x00-\x20]+)")
HEAD_END = b"\r\n\r\n"
SMALL_HEAD_BYTES, SMALL_BODY_BYTES = 4096, 1024
KNOWN = 256                             # how many heads and small requests, and what they come to, are remembered

CONTENT_LENGTH = re.compile(rb"0*([0-9]{1,10})")
CHUNK_SIZE = re.compile(rb"0*([0-9a-fA-F]{1,8})(;[^\n]*)?\r\n")
BODY_KINDS = {"application/x-www-form-urlencoded": "form", "application/json": "json"}
# What sscanf("%2x") makes of the two characters behind a %: it takes a sign, and leading blanks (ast_uri_decode).
PERCENT_ENCODED = re.compile(rb"\+|%(?=[ \t-\r]*([+-][0-9a-fA-F]|[0-9a-fA-F]{1,2}))[^\x00]{2}", re.DOTALL)
BASE64_ALPHABET = (string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/").encode()
BASE64_LAX = bytes(byte if byte in BASE64_ALPHABET else ord("/") for byte in range(256))
NO_BODY = object()
HTML_PAGE = """<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">
<html><head>
<title>{status} {phrase}</title>
</head><body>
<h1>{phrase}</h1>
<p>{text}</p>
<hr />
{address}</body></html>
""".replace("\n", "\r\n")
STATUS_PAGE = """<html><head><title>HTTP status of ari_ref</title></head>
<body><h1>{server}</h1>
<p>ARI is served below {prefix}/ari; listening, as configured, on {listeners}.</p>
</body></html>
""".replace("\n", "\r\n")

class Gone(Exception):
    """The peer has closed, or was silent for too long."""

class Head:
    """A request line and header fields, read once: everything else about a request is derived from these. It never changes, as
    it may be remembered.

    Text is UTF-8 with surrogateescape, so that bytes which are no UTF-8 survive until somebody asks for them."""
    __slots__ = ("method", "target", "path", "query", "fields", "by_name", "content_length", "is_chunked", "has_body", "closes",
                 "body_kind", "size")

    def __init__(self, method: str, target: str, fields: list[tuple[str, str]], framing: tuple[int, bool] = (0, False)) -> None:
        self.method, self.target, self.fields = method, target, fields
        self.path, _, self.query = target.partition("?")
        self.by_name: dict[str, str] = {}               # the first of each
        for name, value in fields:
            self.by_name.setdefault(name.lower(), value)
        self.content_length, self.is_chunked = framing
        self.has_body = any(framing)
        self.closes = self.by_name.get("connection", "").lower() == "close"
        media_type = self.by_name.get("content-type", "").partition(";")[0].lower()
        self.body_kind = BODY_KINDS.get(media_type, "")         # "" for a body that ARI does not read
        self.size = len(target) + sum([len(name) + len(value) for name, value in fields])      # in characters, for the journal

    def exact(self, name: str) -> str:
        """The last field spelt exactly so: how Asterisk looks for the CORS headers; "" when there is none."""
        return next((value for spelling, value in reversed(self.fields) if spelling == name), "")

    def last(self, name: str) -> str:
        """The last field of that name in any case: how the WebSocket handshake looks; "" when there is none."""
        return next((value for spelling, value in reversed(self.fields) if spelling.lower() == name), "")

def header_field(line: bytes) -> tuple[str, str] | None:
    """(name, value) of a line that is a field; Asterisk skips all others and knows no folding."""
    name, _, value = line.partition(b":")
    name, value = name.rstrip(BLANKS), value.strip(BLANKS)
    return (decode(name), decode(value)) if name and value else None

def body_framing(fields: list[tuple[str, str]], lines: list[bytes]) -> tuple[int, bool]:
    """(Content-Length, whether the body is chunked) by the header fields and the lines that they stand in.

    HttpError where two readers could see two bodies (RFC 9112 6.3; 5.1 and 5.2): departure 2, Asterisk itself takes all of it."""
    coding = next((value.lower() for name, value in fields if name.lower() == "transfer-encoding"), "identity")
    lengths, codings, is_clear = [], [], True
    for line, following in itertools.zip_longest(lines, lines[1:], fillvalue=b""):
        name, colon, value = line.partition(b":")
        values = {b"content-length": lengths, b"transfer-encoding": codings}.get(name.strip(BLANKS).lower())
        if colon and values is not None:
            values.append(value.strip(BLANKS))
            is_clear = is_clear and name == name.strip(BLANKS) and values[-1] and not following.startswith((b" ", b"\t"))
    if coding not in ("identity", "chunked") or is_clear and len(codings) > 1:
        raise HttpError(501, "Unsupported Transfer-Encoding.", "Unimplemented")
    length = CONTENT_LENGTH.fullmatch(lengths[0]) if len(lengths) == 1 and not codings else None
    if not is_clear or lengths and (not length or int(length.group(1)) > MAX_CONTENT_LENGTH):
        raise HttpError(400, "Invalid Content-Length in request!")
    return int(length.group(1)) if length else 0, coding == "chunked"

class Incoming:
    """What comes in on a connection: requests, taken line by line and no further than they reach.

    `read(seconds)` waits that long for more bytes and raises Gone where none come. A line that breaks a rule is told as soon
    as that is known. The body of the last head is `unread` until read_body() takes it, if ARI looks at it, or else skip_body().
    Heads and bodies have until `until`."""

    def __init__(self, data: bytes = b"", read: Callable[[float], bytes] | None = None, inactivity: float = 0.0,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.read, self.inactivity, self.clock = read, inactivity, clock
        self.buffer, self.at = data, 0                  # what is before `at` has been taken
        self.until = math.inf
        self.unread: Iterable[bytes] = ()

    def rest(self) -> bytes:
        """What has come and is not taken yet."""
        return self.buffer[self.at:]

    def has_rest(self) -> bool:
        return self.at < len(self.buffer)

    def add(self, data: bytes) -> None:
        """Take what has come."""
        self.buffer, self.at = self.rest() + data, 0

    def more(self) -> None:
        """Wait for more bytes."""
        left = self.until - self.clock()
        if left <= 0 or not self.read:
            raise Gone
        self.add(self.read(min(self.inactivity, left)))

    def read_line(self, too_long: str) -> bytes:
        """The next line with its end; HttpError as soon as it has more than 4095 bytes, and for a NUL in it (departure 2)."""
        while not (end := self.buffer.find(b"\n", self.at, self.at + MAX_LINE_BYTES) + 1):
            if len(self.buffer) - self.at >= MAX_LINE_BYTES:
                raise HttpError(400, too_long)
            self.more()
        line, self.at = self.buffer[self.at:end], end
        if b"\0" in line:
            raise HttpError(400, "Invalid Request")
        return line

    def small_head(self) -> bytes:
        """The next head, not taken yet, where it is small and has come in whole as nearly all do; else nothing."""
        end = self.buffer.find(HEAD_END, self.at, self.at + SMALL_HEAD_BYTES)
        return self.buffer[self.at:end + len(HEAD_END)] if end >= 0 else b""

    def take_head(self, size: int, head: Head) -> None:
        """Go on behind a head of so many bytes."""
        self.at += size
        self.unread = self.body_pieces(head, math.inf) if head.has_body else ()

    def read_head(self) -> Head:
        """The next head; HttpError for a bad one or one that is not whole in time (http.c)."""
        self.until = self.clock() + HEAD_SECONDS        # departure 9
        try:
            match = REQUEST_LINE.match(self.read_line("Request line too long"))
            if not match:
                raise HttpError(400, "Invalid Request")
            head = Head(decode(match.group(1)).upper(), decode(match.group(2)), *self.read_fields())
        except Gone:
            raise HttpError(400, "Timeout") from None
        self.take_head(0, head)
        return head

    def read_fields(self) -> tuple[list[tuple[str, str]], tuple[int, bool]]:
        """The header fields behind a request line, and how the body is framed (http_request_headers_get)."""
        lines, fields = [], []
        line = self.read_line("Header line too long")
        while line.strip(BLANKS):
            lines.append(line)
            field = header_field(line)
            if field:
                fields.append(field)
            if len(fields) > MAX_FIELDS or len(lines) > MAX_HEAD_LINES:
                raise HttpError(413, "Too many headers")
            line = self.read_line("Header line too long")
        return fields, body_framing(fields, lines)

    def pieces(self, size: int) -> Iterator[bytes]:
        """The next so many bytes, as they come."""
        while size:
            if not self.has_rest():
                self.more()
            piece = self.buffer[self.at:self.at + size]
            self.at += len(piece)
            self.until += len(piece) / TRANSFER_RATE
            size -= len(piece)
            yield piece

    def body_pieces(self, head: Head, limit: float) -> Iterator[bytes]:
        """The body behind `head`, as it comes (RFC 9112 6.3, 7.1); AriError once it is known to be bad, or over `limit`."""
        self.until = self.clock() + TRANSFER_SECONDS
        size = self.read_chunk_size() if head.is_chunked else head.content_length
        total = size
        while size:
            if total > limit:
                raise AriError(413, "Request body too large", close=True)
            yield from self.pieces(size)
            if not head.is_chunked:
                return
            for expected in (b"\r", b"\n"):
                if b"".join(self.pieces(1)) != expected:
                    raise bad_body()
            size = self.read_chunk_size()
            total += size
        for _ in range(MAX_HEAD_LINES):
            if not self.read_line("Trailer too long").strip(BLANKS):
                return                  # nobody reads trailers
        raise bad_body()

    def read_chunk_size(self) -> int:
        """The line before a chunk (RFC 9112 7.1); AriError for a bad one."""
        match = CHUNK_SIZE.fullmatch(self.read_line("Chunk size too long"))
        if not match or int(match.group(1), 16) > MAX_CONTENT_LENGTH:
            raise bad_body()
        return int(match.group(1), 16)

    def read_body(self, head: Head) -> bytes:
        """The body, when it is one that ARI looks at; AriError 413 or 400 when it cannot be read."""
        if not (head.has_body and head.body_kind):
            return b""
        end = self.at + head.content_length
        if not head.is_chunked and head.content_length <= MAX_BODY_BYTES and end <= len(self.buffer):
            # It has come in whole, as nearly all do.
            body, self.at, self.unread = self.buffer[self.at:end], end, ()
            return body
        self.unread = self.body_pieces(head, MAX_BODY_BYTES)
        try:
            return b"".join(self.unread)
        except (Gone, HttpError):
            raise bad_body() from None

    def skip_body(self) -> bool:
        """Throw away what nobody has read of the body; False where it is not known where it ends."""
        try:
            for _ in self.unread:
                pass
        except (Gone, HttpError, AriError):
            return False
        return True

def bad_body() -> AriError:
    """What is said of a body that cannot be read, so that nobody knows where the next request begins."""
    return AriError(400, "Error parsing request body", close=True)

class Request:
    """A head and its body, and what admit() finds in them."""
    __slots__ = ("head", "body", "prefix", "path", "pairs", "json", "user")

    def __init__(self, head: Head, body: bytes = b"", prefix: str = "") -> None:
        self.head, self.body, self.prefix, self.path = head, body, prefix, ari_path(head, prefix)
        self.pairs: list[tuple[str, str]] = []          # form, then query
        self.json = None                                # the JSON body, when it is an object or a list
        self.user: User | None = None

def ari_path(head: Head, prefix: str) -> str | None:
    """The path behind /ari/, raw; None outside it (main/http.c, handle_uri)."""
    size = len(prefix) + len("/ari")
    is_below = head.path[:size].lower() == (prefix + "/ari").lower() and head.path[size:size + 1] in ("", "/")
    return head.path[size + 1:] if is_below else None

def percent_decode(text: str) -> str:
    """`text` with + and %XX decoded once, as far as the first NUL."""
    if "%" not in text and "+" not in text:
        return text
    data = PERCENT_ENCODED.sub(lambda m: bytes([int(m.group(1), 16) & 0xFF]) if m.group(1) else b" ", encode(text))
    return decode(data.partition(b"\0")[0])

def parse_pairs(text: str) -> list[tuple[str, str]]:
    """The (name, value) pairs of a query or form: split first, decoded after; a missing = is an empty value."""
    pairs = [piece.partition("=") for piece in text.split("&")] if text else []
    return [(percent_decode(name), percent_decode(value)) for name, _, value in pairs]

def read_parameters(request: Request) -> None:
    """Fill `pairs` and `json` from query and body; AriError 400 when the body is not what its type says.

    Asterisk: the form is tried first, JSON only when the form gave nothing, for every method (ast_ari_callback)."""
    kind = request.head.body_kind if request.body else ""
    form = parse_pairs(decode(request.body).partition("\0")[0]) if kind == "form" else []
    request.pairs = form + parse_pairs(request.head.query)
    if kind == "json":
        try:
            request.json = load_json(request.body)
        except (ValueError, RecursionError):
            pass                        # and None it stays
        require(isinstance(request.json, (dict, list)), 400, "Error parsing request body")

@functools.lru_cache(maxsize=KNOWN)
def basic_credentials(value: str) -> tuple[str, str] | None:
    """(user, password) of an Authorization value; None where the decoded text has no colon.

    Asterisk decodes laxly (ast_base64decode): it stops at the first =, takes a foreign character for 63, keeps 255 bytes."""
    text = encode(value[len("Basic "):]).partition(b"=")[0].translate(BASE64_LAX)
    data = base64.b64decode(text + b"A" * (-len(text) % 4))
    data = data[:min(len(text) * 3 // 4, MAX_CREDENTIAL_BYTES)].partition(b"\0")[0]
    user, colon, password = data.partition(b":")
    return (decode(user), decode(password)) if colon else None

def credentials(request: Request) -> tuple[str, str] | None:
    """What the client gives as user and password: the first Basic header, else api_key of form or query; None for none."""
    for name, value in request.head.fields:
        if value.startswith("Basic ") and name.lower() == "authorization":
            given = basic_credentials(value)
            if given:
                return given
            break
    for name, value in request.pairs:
        if name.isascii() and name.lower() == "api_key":
            user, colon, password = value.partition(":")
            return (user, password) if colon else None
    return None

def authenticate(request: Request, config: Config) -> User | None:
    """The user whose password the request carries; None when there is no such user or the password is wrong."""
    given = credentials(request)
    if not given:
        return None
    return password_matches(*given, config)

def cors_headers(head: Head, config: Config) -> list[tuple[str, str]]:
    """What a cross-origin answer carries: nothing unless the Origin is allowed, compared byte for byte."""
    origin = head.exact("Origin") if config.allowed_origins else ""
    if not origin or CONTROL.search(origin) or not ("*" in config.allowed_origins or origin in config.allowed_origins):
        return []                       # departure 4: none with a control character is echoed
    return [("Access-Control-Allow-Origin", origin), ("Access-Control-Allow-Credentials", "true")]

def preflight_headers(head: Head, config: Config, methods: list[str]) -> list[tuple[str, str]]:
    """What a CORS preflight adds to Allow: the methods, and the requested headers unchanged."""
    wanted = head.exact("Access-Control-Request-Method")
    if wanted not in methods or not cors_headers(head, config):
        return []
    headers = [("Access-Control-Allow-Methods", ",".join(["OPTIONS"] + methods))]
    requested = head.exact("Access-Control-Request-Headers")
    if requested and not CONTROL.search(requested):     # departure 4: one with a control character is not echoed
        headers.append(("Access-Control-Allow-Headers", requested))
    return headers

class Content(NamedTuple):
    """A body that is too large to be one piece: its bytes in all, and its pieces."""
    size: int
    pieces: Iterator[bytes]

class Response:
    """An answer before it is bytes: status and phrase, headers of the resource, and a JSON value or none.

    `content` is a body that is no JSON, as (name of the header for its type or "", type, bytes or Content). Pages, and refusals
    without a body, go out without CORS headers."""
    __slots__ = ("status", "value", "phrase", "headers", "content", "closes", "has_cors")

    def __init__(self, status: int, value=NO_BODY, phrase: str | None = None, headers=(), content=None,
                 closes: bool = False, has_cors: bool = True) -> None:
        self.status, self.value, self.phrase = status, value, phrase or PHRASES[status]
        self.headers, self.content, self.closes, self.has_cors = headers, content, closes, has_cors

    def to_bytes(self, date: str, server: str, pretty: bool = False, cors=(), closes: bool = False, is_head: bool = False) -> bytes:
        """The answer, without a Content."""
        text = None if self.content or self.value is NO_BODY else encode_json(self.value, pretty)
        # Asterisk: what cannot be JSON is an answer without a body (ast_json_dump_string_format); a refusal of HEAD has its body.
        kind = ("", "", b"") if text is None else ("Content-type", "application/json", text)
        name, content_type, body = self.content or kind
        headers = (*(cors if self.has_cors else ()), *self.headers, *([(name, content_type)] if name else ()))
        head = response_head(self.status, self.phrase, date, server, closes, headers)
        size, shown = (body.size, b"") if isinstance(body, Content) else (len(body), body)
        return b"%s%d\r\n\r\n%s" % (head, size, b"" if is_head and self.status < 400 else shown)

@functools.lru_cache(maxsize=KNOWN)
def response_head(status: int, phrase: str, date: str, server: str, closes: bool, headers: tuple) -> bytes:
    """The head of an answer as far as the number of its length, in Asterisk's order (ast_http_send, ast_ari_callback).

    It is remembered: within a second nearly all answers have one of a few."""
    lines = {"Server": server, "Date": date, "Connection": "close" if closes else "", "Cache-Control": "no-cache, no-store"}
    shown = [*[item for item in lines.items() if item[1]], *headers]
    return encode("HTTP/1.1 %d %s\r\n%sContent-Length: " % (status, phrase, "".join(["%s: %s\r\n" % item for item in shown])))

def refusal(error: AriError | HttpError, server: str) -> Response:
    """The answer that an error stands for: JSON, or the page of the HTTP server itself (ast_http_error)."""
    if isinstance(error, AriError):
        return json_error(error)
    address = "<address>%s</address>\r\n" % html.escape(server, quote=False) if server else ""
    page = HTML_PAGE.format(status=error.status, phrase=error.phrase, text=error.text, address=address)
    return Response(error.status, phrase=error.phrase, closes=error.close, has_cors=False,
                    content=("Content-type", "text/html", page.encode()))

def status_page(method: str, settings: HttpConfig) -> Response:
    """/httpstatus, which health checks ask for; HttpError 501 for another method (httpstatus_callback). Not Asterisk: its text."""
    if method not in ("GET", "HEAD"):
        raise HttpError(501, "Attempt to use unimplemented / unsupported method", close=False)
    listeners = ", ".join("%s %s:%d" % ("https" if is_tls else "http", *place) for *place, is_tls in settings.listeners())
    facts = {"server": settings.server_name, "prefix": settings.prefix, "listeners": listeners}
    page = STATUS_PAGE.format(**{name: html.escape(text) for name, text in facts.items()})
    return Response(200, has_cors=False, content=("", "", encode(page)))

def json_error(error: AriError) -> Response:
    """The JSON answer of a refusal."""
    has_body = error.message is not None
    return Response(error.status, {error.member: error.message} if has_body else NO_BODY, error.phrase, error.headers,
                    closes=error.close, has_cors=has_body)

def log_in(request: Request, config: Config, reads: tuple[str, ...]) -> None:
    """Read the parameters and find the user: 401, or 403 for one who may use the methods `reads` only and asks for another."""
    read_parameters(request)
    request.user = authenticate(request, config)
    if request.user is None:
        challenge = ("WWW-Authenticate", 'Basic realm="%s"' % config.auth_realm)
        raise AriError(401, "Authentication required", headers=(challenge,))
    require(not request.user.is_read_only or request.head.method in reads, 403, "Write access denied")

def admit(request: Request, config: Config) -> None:
    """AriError for a request that may not go on; what is found out about it is kept in the request."""
    log_in(request, config, reads=("GET", "OPTIONS"))
    if request.path.endswith("/"):
        raise AriError(404, "ARI URLs do not end with a slash. Try /ari/%s" % request.path[:-1])


# === 6. The REST machine ===
# An operation is declared once: method and path above the function, parameters and look-ups in its signature, what it does in
# its docstring. Routing, the parsing of parameters, Allow and the API description follow from that. A request is answered in
# two steps: resolve(), which needs no model, finds the operation and its arguments; answer() runs it. No operation stands
# here. Rules: res/res_ari.c (ast_ari_callback, ast_ari_invoke).

MAX_LIST_ITEMS = 127                    # values of one list parameter
USUAL_KEYS = "name description paramType required allowMultiple dataType defaultValue allowableValues".split()
BODY_KEYS = "name description paramType required dataType allowMultiple".split()
IN_SNAKE_CASE = ("external_host", "connection_type")    # so on the wire too
ABSENT = object()                       # what tells a member that is not there from null
WILDCARD = re.compile(r"{(\w+)}")
WORD_START = re.compile(r"(?<=[a-z])(?=[A-Z])|_")
COPYRIGHT = "Made from the declarations of ari_ref."
API_VERSION, LISTING_VERSION, SWAGGER_VERSION, EVENTS_SWAGGER_VERSION = "2.0.0", "4.1.4", "1.1", "1.2"
MODEL_ROW = re.compile(r"(~?)(\w+) \((.*?)\):(.*)")
MODEL_ITEM = re.compile(r"(\*?)(\w+)([!?]?)(?::([^=]+))?(?:=(.*))?")
USUAL_ORDER = "creationtime"            # Asterisk: the one property of a turned model that is not turned (bridges.json)

def wire_name(name: str) -> str:
    """channel_id as channelId, absorb_dtmf as absorbDTMF; a _ behind a word that Python or this module needs itself goes."""
    first, *rest = name.rstrip("_").split("_")
    return name if name in IN_SNAKE_CASE else first + "".join("DTMF" if word == "dtmf" else word.capitalize() for word in rest)

def spaced(name: str) -> str:
    """maxSilenceSeconds as max silence seconds."""
    return WORD_START.sub(" ", name).lower()

class Kind(NamedTuple):
    """A parameter, as the default value of an argument: what text, JSON and absence come to, and how it is described.

        media=List.needed()                         a list that must be there; how it is refused, the operation says
        variable=Text.needed("... is required")     400 with these words where it is absent or empty
        timeout=Number(30)                          30 where it is absent
        direction=Text("both", allowed=(...))       Asterisk: a text is None where it is absent, and "both" but described"""
    data_type: str
    from_text: Callable
    from_json: Callable
    absent: object = None
    is_list: bool = False
    where: str = "query"                # path, query, body (a member of the JSON body) or document (the body itself)
    name: str = ""                      # on the wire; the argument gives it
    required: bool = False
    refusal: str = ""                   # 400 with these words where it is absent or empty, before anything is looked up
    default: object = None
    allowed: tuple = ()
    least: int | None = None
    keys: list = USUAL_KEYS             # in the order of the API description

    def __call__(self, default=None, **facts) -> Kind:
        """The same with a default, or with other facts. Asterisk: the default of a text is only shown (res_ari_*.c)."""
        if default is not None and self.absent is not None:
            facts["absent"] = default
        return self._replace(default=default, **facts)

    def needed(self, refusal: str = "", **facts) -> Kind:
        return self._replace(required=True, refusal=refusal, **facts)

    def describe(self) -> dict:
        facts = {"name": self.name, "description": spaced(self.name), "required": self.required, "dataType": self.data_type,
                 "paramType": "body" if self.where == "document" else self.where, "allowMultiple": self.is_list}
        if self.default is not None:
            facts["defaultValue"] = facts["defalutValue"] = self.default        # one of the two stands among `keys`
        if self.least is not None:
            facts["allowableValues"] = {"valueType": "RANGE", "min": self.least}
        elif self.allowed:
            facts["allowableValues"] = {"valueType": "LIST", "values": list(self.allowed)}
        return {key: facts[key] for key in self.keys if key in facts}

def read_integer(value, bits: int = 32) -> int:
    """A JSON integer cut to so many bits; 0 for another type."""
    return wrap_integer(value, bits) if type(value) is int else 0

Text = Kind("string", str, lambda value: value if isinstance(value, str) else None)     # another JSON type: as if not sent
Flag = Kind("boolean", is_true, lambda value: value is True, absent=False)
Number = Kind("int", c_integer, read_integer, absent=0)
Long = Kind("long", lambda word: c_integer(word, 64), lambda value: read_integer(value, 64), absent=0)
List = Kind("string", lambda word: word.split(","), lambda value: [
    Text.from_json(item) for item in (value if isinstance(value, list) else [value])], absent=(), is_list=True)
Member = Kind("containers", str, lambda value: value, absent=ABSENT, where="body", keys=BODY_KEYS)
Document = Kind("object", str, lambda value: value, absent=ABSENT, where="document", keys=BODY_KEYS)

def one_of(table: str, message: str, phrase: str | None = None, key: Callable[[str], str] = str) -> Callable:
    """A look-up in a table of the model, by `key` of the text: 404 where the thing is not there."""
    return lambda stasis, name: existing(getattr(stasis, table).get(key(name)), message, phrase=phrase)

class Operation(NamedTuple):
    """One method of one path; parameters and look-ups by the names of their arguments."""
    method: str
    path: str
    summary: str
    nickname: str
    response_class: str
    errors: list
    handler: Callable
    parameters: dict[str, Kind]         # in the order of the description
    look_ups: dict[str, Callable]       # in the order of the signature
    needs_stasis: bool

    @property
    def is_upgrade(self) -> bool:
        """True for the one operation that ends in another protocol; it is in no Allow."""
        return self.response_class == "Message"

    def run(self, arguments: dict, stasis: Stasis):
        """Look up what the path names, then do it."""
        if self.look_ups:
            arguments = {**arguments, **{name: find(stasis, arguments[name]) for name, find in self.look_ups.items()}}
        return self.handler(stasis, **arguments) if self.needs_stasis else self.handler(**arguments)

    def describe(self) -> dict:
        facts = {"httpMethod": self.method}
        if self.is_upgrade:
            facts.update(upgrade="websocket", websocketProtocol="ari")
        facts.update(summary=self.summary, nickname=self.nickname, responseClass=self.response_class)
        if self.parameters:
            facts["parameters"] = [kind.describe() for kind in self.parameters.values()]
        if self.errors:
            facts["errorResponses"] = [{"code": code, "reason": PHRASES[int(code)]} for code in self.errors]
        return facts

OPERATIONS: dict[str, dict[str, Operation]] = {}        # path: method: operation; all in the order of the API description
ROUTES: dict[tuple, dict[str, Operation]] = {}          # the same by segments, None for any, and whatever a path begins with

def operation(*places: str, returns: str = "void", errors="", path_first: bool = True) -> Callable:
    """Declare the function below as an operation, or as two.

    places     "METHOD /path"; a second one is the DELETE that undoes a POST, or takes an id in its path as well
    returns    the model of the answer, and `errors` the statuses, as they are described
    name       what stands behind the first _ is the nickname, or both around _or_; with an id in the path WithId follows it
    signature  `stasis`, and `is_on` (False in a DELETE), where they are needed; then parameters, each with its Kind, and parts of
               the path: an argument `channel` stands for {channelId}, as text, or as what its default value, a look-up
               f(stasis, text), finds. Look-ups run in this order, before the operation. The description has the path first,
               unless `path_first` is False.
    docstring  the first sentence is the summary

    So `def channel_ring_or_ring_stop(is_on, channel=answerable)` below the two places "POST /channels/{channelId}/ring" and "DELETE
    ..." is the operations ring and ringStop; `channel` is what answerable(stasis, the text in place of {channelId}) finds."""
    def declare(handler: Callable) -> Callable:
        names = handler.__code__.co_varnames[:handler.__code__.co_argcount]
        defaults = dict(zip(reversed(names), reversed(handler.__defaults__ or ())))
        look_ups = {name: defaults[name] for name in names if not isinstance(defaults.get(name, Text), Kind)}
        codes = [int(code) for code in errors.split()] if isinstance(errors, str) else errors
        nicknames = [wire_name(name) for name in handler.__name__.partition("_")[2].split("_or_")]
        for place, nickname in zip(places, nicknames + [nicknames[0] + "WithId"]):
            method, path = place.split()
            asked = [name for name in names if name not in ("stasis", "is_on")]
            parameters = {name: parameter(name, defaults.get(name), path) for name in asked}
            parameters = dict(sorted(parameters.items(), key=lambda item: path_first and item[1].where != "path"))
            if {kind.name for kind in parameters.values() if kind.where == "path"} != set(WILDCARD.findall(path)):
                raise TypeError("%s has parts that %s does not name" % (path, handler.__name__))
            done = functools.partial(handler, is_on=method == "POST") if "is_on" in names else handler
            declared = Operation(method, path, (handler.__doc__ or "").partition(".")[0], nickname, returns, codes, done,
                                 parameters, look_ups, "stasis" in names)
            if OPERATIONS.setdefault(path, route_to(path, ROUTES)).setdefault(method, declared) is not declared:
                raise TypeError("%s is declared twice" % place)
        return handler
    return declare

def parameter(argument: str, default, path: str) -> Kind:
    """What a client sends for an argument: its Kind, or the part of the path that the argument stands for."""
    name, kind = wire_name(argument), default if isinstance(default, Kind) else None
    in_path = [part for part in WILDCARD.findall(path) if part == name or kind is None and part.startswith(name)]
    if in_path:
        return (kind or Text)._replace(name=in_path[0], where="path", required=True)
    if kind is None:
        raise TypeError("%s has no kind, and is not in %s" % (argument, path))
    return kind._replace(name=name)

def route_to(path: str, routes: dict[tuple, dict[str, Operation]]) -> dict[str, Operation]:
    """The operations of a path that is declared; what it begins with is a route too, if only with none."""
    segments = tuple(None if WILDCARD.fullmatch(segment) else segment for segment in path[1:].split("/"))
    for length in range(len(segments) + 1):
        routes.setdefault(segments[:length], {})
    return routes[segments]

def find_route(path: str, routes: dict[tuple, dict[str, Operation]] = ROUTES) -> tuple[dict[str, Operation], list[str]]:
    """The operations that a raw path leads to, and the values of its wildcards; AriError 404 when it leads nowhere.

    Asterisk: an empty segment ends the path (ast_ari_invoke). A literal goes before a wildcard, whatever follows (departure 12)."""
    route, values = (), []
    for segment in map(percent_decode, itertools.takewhile(bool, path.split("/"))):
        if (*route, segment) in routes:
            route = (*route, segment)
        else:
            route = (*route, None)
            require(route in routes, 404, "Resource not found")
            values.append(segment)
    return routes[route], values

def parse_parameters(declared: Operation, request: Request, path_values: list[str]) -> dict:
    """The arguments of an operation: JSON beats query beats form, the last of a name counts, and nothing beats the path."""
    in_path = dict(zip(WILDCARD.findall(declared.path), path_values)) if path_values else {}
    members = request.json if isinstance(request.json, dict) else {}
    words: dict[str, list[str]] = {}
    for name, word in request.pairs:
        words.setdefault(name, []).append(word)
    arguments = {}
    for argument, kind in declared.parameters.items():
        if kind.where == "path":
            given = [in_path[kind.name]]
        elif kind.where == "document":
            given = [request.pairs if request.json is None else request.json]
        elif kind.name in words or kind.name in members:
            given = [kind.from_text(word) for word in words.get(kind.name, ())] if kind.where == "query" else []
            if kind.name in members:
                given.append(kind.from_json(members[kind.name]))
        else:
            given = ()
        if given and kind.is_list:
            require(max(map(len, given)) <= MAX_LIST_ITEMS, 400, "Too many values for %s" % argument)
        arguments[argument] = given[-1] if given else kind.absent
    for argument, kind in declared.parameters.items():                  # when all are read
        if kind.refusal and not arguments[argument]:
            raise AriError(400, kind.refusal)
    return arguments

class Later(NamedTuple):
    """What an operation that needs a file comes to: work(server), done when the lock is free, then then(stasis, its result).

    All such work is done in the order of the changes to the model. Between the two halves everything may change: what the
    operation takes or gives away, it does in the first, and where the work fails the recording that it `changes` is listed again as
    it lies on the disk. An OSError or ConfigError goes to the log, and the answer is the refusal. Work that takes long is an
    iterator, which is true at each step: others have their turn between."""
    work: Callable[[Server], object]
    then: Callable[[Stasis, object], object]
    refusal: AriError
    changes: str = ""
    is_file: bool = True                # of something else, in no order

class Upgrade(NamedTuple):
    """What GET /events comes to: the applications that its event socket is to hold, and the headers of the 101 answer."""
    applications: list[str]
    follows_all: bool
    headers: list[tuple[str, str]] | tuple = ()

def resolve(request: Request, config: Config) -> Response | Callable[[Stasis], object]:
    """What answers an admitted request: an operation with its arguments, to be called with the model, or what needs none.

    AriError where there is nothing that could; HttpError where that is told by a page, as a bad handshake is."""
    method, path = request.head.method, request.path
    if path.startswith("api-docs/"):
        require(method == "GET", 405, "Unsupported method")
        return Response(200, api_document(path[len("api-docs/"):], request))
    operations, values = find_route(path)
    declared = operations.get(method)
    if declared is None:
        methods = [name for name in METHODS if name in operations and not operations[name].is_upgrade]
        allow = ("Allow", ",".join(["OPTIONS", *methods]))
        if method == "OPTIONS":
            return Response(204, headers=[allow, *preflight_headers(request.head, config, methods)])
        raise AriError(405, "Invalid method", headers=(allow,))
    if declared.is_upgrade:
        upgrade = resolve_handshake(declared, request, values)
        return lambda stasis: upgrade
    return functools.partial(declared.run, parse_parameters(declared, request, values))

def resolve_handshake(declared: Operation, request: Request, path_values: list[str]) -> Upgrade:
    """What GET /events comes to: nothing in it needs the model."""
    headers = handshake_headers(request.head)
    try:
        arguments = parse_parameters(declared, request, path_values)
    except AriError as error:           # Asterisk: the JSON is the text of a page (ast_ari_events_event_websocket_ws_attempted_cb)
        raise HttpError(error.status, dump_json(json_error(error).value), close=False) from None
    return declared.handler(**arguments)._replace(headers=headers)

def answer(call: Callable[[Stasis], object], stasis: Stasis) -> Response | Upgrade | Later:
    """Run what resolve() gave; the caller holds the lock. None becomes a 204, any other value a 200; AriError for a refusal."""
    result = call(stasis)
    if isinstance(result, (Response, Upgrade, Later)):
        return result
    return Response(204) if result is None else Response(200, result)

class Resource(NamedTuple):
    """A document of the API description: what it is about, the names of its models as rows, the modules that it names.

    One row, one model: its name, what it is, its properties, each a name, "!" required or "?" not (neither: unsaid), then
    ":type" unless it is a string, then "=value|value" where only these are allowed. In the description "required" stands
    before "type", behind it in a row that starts with "~". "*" marks what is said of the model itself. Indented lines go on."""
    about: str
    models: str
    modules: str = ""

RESOURCES: dict[str, Resource] = {}                     # in the order of the listing

def describe_models(name: str) -> dict[str, dict]:
    """The `models` of one document."""
    rows = re.split(r"\n(?! )", RESOURCES[name].models.strip())
    return {model["id"]: model for model in map(describe_model, rows)}

def describe_model(row: str) -> dict:
    """A model of the API description by its row."""
    turned, name, summary, rest = MODEL_ROW.fullmatch(" ".join(row.split())).groups()
    model, properties = {"id": name, "description": summary}, {}
    for item in filter(None, rest.strip().split(", ")):
        mark, word, required, data_type, values = MODEL_ITEM.fullmatch(item).groups()
        if mark:
            model[word] = values if word == "discriminator" else [value.strip() for value in values.split("|")]
            continue
        facts = {"required": required == "!"} if required else {}
        facts["type"] = data_type or "string"
        if turned and word != USUAL_ORDER:
            facts = dict(reversed(list(facts.items())))
        if values:
            facts["allowableValues"] = {"valueType": "LIST", "values": values.split("|")}
        properties[word] = facts
    model["properties"] = properties
    return {key: model[key] for key in ("id", "description", "discriminator", "properties", "subTypes") if key in model}

@functools.lru_cache(maxsize=None)
def described_resource(name: str) -> dict:
    """The document of one resource, basePath left empty; made once, and never changed."""
    document = {"_copyright": COPYRIGHT, "apiVersion": API_VERSION,
                "swaggerVersion": EVENTS_SWAGGER_VERSION if name == "events" else SWAGGER_VERSION, "basePath": "",
                "resourcePath": "/api-docs/%s.{format}" % name}
    if RESOURCES[name].modules:
        document["requiresModules"] = RESOURCES[name].modules.split()
    document["apis"] = [
        {"path": path, "description": spaced(path.rpartition("/")[2].strip("{}")), "operations": [
            declared.describe() for declared in operations.values()]}
        for path, operations in OPERATIONS.items() if path.split("/")[1] == name]
    document["models"] = describe_models(name)
    return document

def api_document(name: str, request: Request) -> dict:
    """One document of the API description; the name is a file path that is not decoded. AriError 403 and 404."""
    parts = [part for part in name.split("/") if part not in ("", ".")]
    require(bool(parts), 403, "Invalid access")
    stem, _, suffix = parts[0].rpartition(".")
    require(len(parts) == 1 and suffix == "json" and stem in ("resources", *RESOURCES), 404, "Resource not found")
    document = dict(described_resource(stem)) if stem != "resources" else {
        "_copyright": COPYRIGHT, "apiVersion": LISTING_VERSION, "swaggerVersion": SWAGGER_VERSION, "basePath": "", "apis": [
            {"path": "/api-docs/%s.{format}" % name, "description": resource.about} for name, resource in RESOURCES.items()]}
    host = request.head.by_name.get("host", "")
    if host:
        document["basePath"] = "http://%s%s/ari" % (host if is_utf8(host) else "localhost:8088", request.prefix)
    else:
        del document["basePath"]
    return document


# === 7. Stasis ===
# What exists, what changes, and the events that tell of it. No socket, no thread, no clock: whoever calls holds the server's
# lock, sets the time with advance(), and takes the events from `outbox`. Delay is data in `timers`.
#
#   7.1 Time and events                 timers, applications and what they follow, Stasis
#   7.2 The dialplan                    what stands at a place
#   7.3 The queue of a stay             tasks, which wait for each other; commands
#   7.4 A channel                       its snapshots, variables, digits, audio, and its end
#   7.5 What runs on it                 programs: the call, the stay in an application, the dialplan
#   7.6 Calls                           Local pairs: originate, create, dial; Snoop and external media
#   7.7 Bridges                         members, technology, peers; internal channels and music
#   7.8 Sounds and files                formats, sounds, stored recordings
#   7.9 Media and digits                the tasks that take time: digits, playbacks, recordings
#   7.10 Telephones                     endpoints and their calls
#   7.11 Devices, mailboxes, globals
#
# The theory: programs run on a channel, one inside the other, and the innermost is what it shows. An application may act on a
# channel while its stay there is the innermost. What it asks for are tasks in the queue of that stay; continue and move say where
# the channel goes when the queue is empty, and before a hang-up ends the stay it ends the queue. Four words for ends: stop() asks
# for one, fail() says that the channel hangs up, end() ends and tells, forget() comes last and takes out of the tables. To leave
# is no end: the bridge or the application stays, and the channel goes on.
# Rules: res/res_stasis*.c, res/stasis/*.c, main/stasis_channels.c, main/core_local.c of Asterisk 16.30.1.


# --- 7.1 Time and events
ALL_TOPICS = {"channel": "__AST_CHANNEL_ALL_TOPIC", "bridge": "__AST_BRIDGE_ALL_TOPIC",
              "endpoint": "__AST_ENDPOINT_ALL_TOPIC", "deviceState": "__AST_DEVICE_STATE_ALL_TOPIC"}
FOLLOWED_KINDS = ("channel", "bridge", "endpoint")      # what keeps an application without a socket
MAX_IDLE_APPLICATIONS = 1000            # inactive ones that are kept: each is asked about each event
LEAST_SWEEP = 1000                      # timers that are not worth a look
MAX_ENDED_VOICES = 16                   # that a test may look at when their calls are over

class Timer:
    """What is due next for its owner, if anything: set() replaces it, cancel() takes it back."""
    __slots__ = ("stasis", "due", "action")

    def __init__(self, stasis: Stasis) -> None:
        self.stasis, self.due, self.action = stasis, 0.0, None

    def set(self, seconds: float, action: Callable[[], None]) -> None:
        self.due, self.action = self.stasis.now + seconds, action
        heapq.heappush(self.stasis.timers, (self.due, next(self.stasis.serial), self))
        if len(self.stasis.timers) >= self.stasis.sweep_at:
            self.stasis.sweep_timers()

    def cancel(self) -> None:
        self.action = None

    def is_due_at(self, moment: float) -> bool:
        """False for a moment of the heap that was replaced or taken back."""
        return self.action is not None and self.due == moment

class Application:
    """A Stasis application: the socket that hears it (None while it is inactive), what it follows and filters.

    What it follows of channels and bridges is kept there (`followers`), and in `all_of` for whole kinds."""

    def __init__(self, name: str) -> None:
        self.name, self.socket, self.all_of = name, None, set()
        self.device_names: dict[str, None] = {}         # all of them: ALL_TOPICS["deviceState"]
        self.allowed, self.disallowed = [], []          # entries of the event filter

    def accepts(self, event_type: str) -> bool:
        """True when the event filter lets this type through."""
        if self.disallowed and event_type in [entry["type"] for entry in self.disallowed]:
            return False
        return not self.allowed or event_type in [entry["type"] for entry in self.allowed]

class Stasis:
    """All that exists, its time, and the events that tell of it. Whoever calls holds the lock.

    `new_id` makes ids of bridges and playbacks. `outbox` collects (event, [(socket, application name), ...]) in the order in
    which they happened; `notes` are for the log: (text, whether it is a fault of ours, or a hint to who writes an application)."""

    def __init__(self, new_id: Callable[[], str], now: float, sounds: Sounds, recordings: Recordings,
                 entity_id: str = "00:00:00:00:00:00") -> None:
        self.new_id, self.entity_id, self.sounds, self.recordings = new_id, entity_id, sounds, recordings
        self.dialplan = parse_extensions(BUILT_IN_DIALPLAN)
        self.now = self.started = self.reloaded = now
        self.outbox: list[tuple[dict, list]] = []
        self.notes: list[tuple[str, bool]] = []
        self.timers: list[tuple[float, int, Timer]] = []
        self.sweep_at = LEAST_SWEEP                     # how many timers there are when they are looked through
        self.serial = itertools.count()                 # of timers, so that those of one moment keep their order
        self.unique_ids = itertools.count()             # EPOCH.N, of a channel
        self.pair_serial = itertools.count()            # in the names of Local channels and internal ones
        self.snoop_serial = itertools.count()
        self.channels: dict[str, Channel] = {}          # by id
        self.channels_by_name: dict[str, Channel] = {}  # by name and by id, in lower case
        self.bridges: dict[str, Bridge] = {}            # by id
        self.endpoints: dict[str, Endpoint] = {}        # by TECHNOLOGY/RESOURCE
        self.phone_states: dict[str, str] = {}          # device states of all that ever were, by the same
        self.phone_serials: dict[str, Iterator[int]] = {}               # in the names of their channels, by technology
        self.technologies: dict[str, Subject] = {}      # all telephones of a technology, by its name
        self.playbacks: dict[str, list[Playback]] = {}  # by id, which need not be one's own
        self.live_recordings: dict[str, LiveRecording] = {}             # by the name of the file
        self.voices, self.ended_voices = [], collections.deque(maxlen=MAX_ENDED_VOICES)      # of telephones and external media
        self.is_audio_new, self.is_reckoning, self.audio_version = False, False, 0      # for audio_changed()
        self.applications: dict[str, Application] = {}  # by name
        self.device_names_of_gone: dict[str, dict] = {}                 # what applications follow that are gone, by name
        self.channelvars: list[str] = []
        self.global_variables: dict[str, str] = {}
        self.device_states: dict[str, str] = {}         # by the name behind "Stasis:"
        self.custom_states: dict[str, str] = {}         # by the name behind "Custom:"
        self.mailboxes: dict[str, Mailbox] = {}
        self.known_devices: set[str] = set()            # whatever ever was in device_states
        self.known_mailboxes: set[str] = set()          # and in mailboxes
        self.unloaded_modules: set[str] = set()
        self.added_logs: dict[str, str] = {}            # log channels and their levels

    def next_due(self) -> float | None:
        """When advance() will next have something to do; None when nothing is waiting."""
        while self.timers and not self.timers[0][2].is_due_at(self.timers[0][0]):
            heapq.heappop(self.timers)
        return self.timers[0][0] if self.timers else None

    def advance(self, now: float) -> None:
        """Move the time on, running what is due in order and at its own time."""
        while self.timers and self.timers[0][0] <= now:
            due, _, timer = heapq.heappop(self.timers)
            if timer.is_due_at(due):
                self.now, action, timer.action = max(self.now, due), timer.action, None
                self.attempt(action)
        self.now = max(self.now, now)

    def sweep_timers(self) -> None:
        """Forget what was replaced or taken back, which may be due in years: no more than half of the heap is such."""
        self.timers = [entry for entry in self.timers if entry[2].is_due_at(entry[0])]
        heapq.heapify(self.timers)
        self.sweep_at = max(LEAST_SWEEP, 2 * len(self.timers))

    def attempt(self, action: Callable[[], None]) -> bool:
        """Run what no request waits for; False after a fault, which is kept for the log and touches nobody else."""
        try:
            action()
            return True
        except Exception:
            self.notes.append((traceback.format_exc(), True))
            return False

    def hint(self, text: str) -> None:
        """Tell in the log what the author of an application will want to know."""
        self.notes.append((text, False))

    def recording_lost(self, name: str, problem: str, left: dict[str, float], changes: int) -> None:
        """The file of a recording cannot be written, or removed; a live one has failed. What is `left` of it on the disk is listed.

        `changes`: as of relist(); a later recording of that name has nothing to do with it."""
        if self.recordings.changes[name] == changes:
            recording = self.live_recordings.get(name)
            self.recordings.being_written.discard(name)
            self.recordings.relist(name, left, changes)
            if recording and recording.is_started:
                recording.end_failed("Cannot write the recording: %s" % problem)
        self.hint("recording %s was lost, its file cannot be written: %s" % (name, problem))

    def hang_up_all(self) -> None:
        """End every bridge and channel."""
        for bridge in list(self.bridges.values()):
            self.attempt(bridge.end)
        for channel in list(self.channels.values()):
            for end in (channel.hang_up, channel.end):  # Asterisk: a ;2 that nobody has called goes only with its ;1
                if not channel.is_over:
                    self.attempt(end)

    def followers_of_all(self, kind: str) -> list[Application]:
        return [application for application in self.applications.values() if kind in application.all_of]

    def audience(self, subject: Subject) -> list[Application]:
        """The applications that follow the subject, or everything of its kind, each once; again those that follow its endpoint."""
        return [*dict.fromkeys([*subject.followers, *self.followers_of_all(subject.kind)]), *subject.endpoint_followers()]

    def emit(self, applications: list[Application], event_type: str, head: dict | None = None, **members) -> None:
        """Put an event into the outbox for those of the applications that are active and let it through.

        `head` comes before its type and timestamp, the members behind them."""
        hearers = [(application.socket, application.name) for application in applications
                   if application.socket and application.accepts(event_type)]
        if hearers:
            self.outbox.append(({**(head or {}), "type": event_type, "timestamp": ari_timestamp(self.now), **members}, hearers))

    def open_applications(self, socket, names: list[str], follows_all: bool) -> None:
        """Register a socket's applications from left to right; an active one is taken over."""
        self.forget_idle_applications()
        for name in names:
            application = self.applications.get(name)
            if not application:
                application = self.applications[name] = Application(name)
                application.device_names = self.device_names_of_gone.pop(name, {})
                if follows_all:
                    application.all_of.update(FOLLOWED_KINDS)
                    application.device_names[ALL_TOPICS["deviceState"]] = None
            elif application.socket:
                self.hint("the application %s was taken over by another event socket; the first one hears no more of it" % name)
                self.emit([application], "ApplicationReplaced", application=name)
            application.socket = socket

    def close_applications(self, socket) -> None:
        """Make the applications that a socket still holds inactive, and forget those that follow nothing."""
        for application in self.applications.values():
            if application.socket is socket:
                application.socket = None
        self.forget_idle_applications()

    def forget_idle_applications(self) -> None:
        """Remove inactive applications without interest in a channel, bridge or endpoint (res_stasis.c, cleanup).

        Not Asterisk: of those with interest only so many are kept, the newest."""
        idle = [application for application in self.applications.values() if not application.socket]
        if not idle:
            return
        busy = {application for subjects in (self.channels, self.bridges, self.endpoints, self.technologies)
                for subject in subjects.values() for application in subject.followers}
        kept = [application for application in idle if application.all_of or application in busy][-MAX_IDLE_APPLICATIONS:]
        for application in set(idle).difference(kept):
            del self.applications[application.name]
            if application.device_names:                # Asterisk: they outlive the application (device_state_subscriptions)
                self.device_names_of_gone[application.name] = application.device_names
        for name in list(self.device_names_of_gone)[:-MAX_IDLE_APPLICATIONS]:
            del self.device_names_of_gone[name]

    def active_application(self, name: str) -> Application | None:
        """The application of that name, if a socket hears it."""
        application = self.applications.get(name)
        return application if application and application.socket else None

    def application_json(self, application: Application) -> dict:
        """An application as it is shown, what it follows in the order of the bytes of the ids."""
        def followed(kind: str, subjects: dict) -> list[str]:
            ids = [subject.id for subject in subjects.values() if application in subject.followers]
            if kind in application.all_of:
                ids.append(ALL_TOPICS[kind])
            return sorted(ids, key=str.encode)
        return {"name": application.name, "channel_ids": followed("channel", self.channels),
                "bridge_ids": followed("bridge", self.bridges),
                "endpoint_ids": followed("endpoint", {**self.endpoints, **self.technologies}),
                "device_names": list(application.device_names), "events_allowed": application.allowed,
                "events_disallowed": application.disallowed}

    def audio_changed(self) -> None:
        """Somebody began or ceased to send: running recordings reckon anew, and again where one that ends has changed it."""
        self.is_audio_new = True
        self.audio_version += 1
        while self.is_audio_new and not self.is_reckoning:
            self.is_audio_new, self.is_reckoning = False, True
            for recording in list(self.live_recordings.values()):
                self.attempt(recording.listen)
            self.is_reckoning = False

    def unique_id(self) -> str:
        """The id of a channel for which nobody gave one."""
        made = ("%d.%d" % (self.now, number) for number in self.unique_ids)
        return next(channel_id for channel_id in made if channel_id not in self.channels_by_name)

    def route_audio(self) -> int:
        """Find out anew whom everybody hears, for who carries the audio; the version that this is of."""
        for voice in self.voices:
            voice.hears = tuple(voice.channel.audio(True))
        return self.audio_version

    def find_channel(self, name_or_id: str) -> Channel | None:
        """The channel of an id or a name, both in any case (ast_channel_get_by_name)."""
        return self.channels_by_name.get(name_or_id.lower())

class Subject:
    """A channel or a bridge: something that applications follow. `followers` counts the interests of each application."""
    __slots__ = ("id", "stasis", "followers", "published", "created")
    kind = ""

    def __init__(self, stasis: Stasis, subject_id: str) -> None:
        self.stasis, self.id = stasis, subject_id
        self.followers: dict[Application, int] = {}
        self.published: Encoded | None = None           # the last published snapshot: never changed, only replaced
        self.created = ari_timestamp(stasis.now)

    @property
    def uri(self) -> str:
        return "%s:%s" % (self.kind, self.id)

    def follow(self, application: Application | None) -> None:
        """Count one more interest; without effect for an application that follows everything of the kind."""
        if application and self.kind not in application.all_of:
            self.followers[application] = self.followers.get(application, 0) + 1

    def unfollow(self, application: Application | None) -> bool:
        """Count one interest less; False when there was none."""
        count = self.followers.get(application, 0)
        if count > 1:
            self.followers[application] = count - 1
        elif count:
            del self.followers[application]
        return count > 0

    def endpoint_followers(self) -> list[Application]:
        """Those who follow the endpoint of a channel: they hear of it beside who follows the channel."""
        return []

    def emit(self, event_type: str, **members) -> None:
        """Tell whoever follows this subject; the members are those of Stasis.emit()."""
        self.stasis.emit(self.stasis.audience(self), event_type, **members)

    def emit_media(self, event_type: str, **members) -> None:
        """An event of a playback or recording."""
        self.emit(event_type, **members)

    def can_hear_playback(self) -> bool:
        return True

    def progress(self) -> None:
        """Media are about to be sent."""

# --- 7.2 The dialplan
# Without an extensions.conf this is all, but for a context stasis-APP of each application (Not Asterisk).
BUILT_IN_DIALPLAN = b"""
[default]
exten => answer,1,Answer()
 same => n,Wait(30)
exten => app,1,Stasis(theapp,one,two)
"""
MAX_NESTED, MAX_EXPRESSION = 50, 400    # braces; characters, of which a client may have given some
COMPARISON = re.compile(r"(.*?)(!=|<=|>=|==|=|<|>)(.*)", re.DOTALL)
COMPARISONS = {"=": operator.eq, "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt, "<=": operator.le,
               ">=": operator.ge}
SUM, PRODUCT = re.compile(r"(.*[0-9].*)([-+])(.*)", re.DOTALL), re.compile(r"(.*[0-9].*)([*/%])(.*)", re.DOTALL)
SUMS = {"+": operator.add, "-": operator.sub, "*": operator.mul, "/": lambda left, right: int(left / right), "%": math.fmod}

class Place(NamedTuple):
    """A place in the dialplan."""
    context: str
    exten: str
    priority: int

def dialplan_step(stasis: Stasis, place: Place) -> tuple[str, str] | None:
    """(application, data) at a place of the dialplan; None where there is nothing."""
    context, exten, priority = place
    if exten and context.startswith("stasis-") and context[len("stasis-"):] in stasis.applications:
        return (("NoOp", "") if exten == "h" else ("Stasis", context[len("stasis-"):])) if priority == 1 else None
    return stasis.dialplan.step(context, exten, priority)

def labelled_priority(stasis: Stasis, context: str, exten: str, label: str) -> int | None:
    """The priority of a label, or of a number in its place; None where it is neither (ast_findlabel_extension)."""
    found = stasis.dialplan.label(context, exten, label)
    match = C_INTEGER.match(label)
    return found if found is not None else int(match.group(1)) if match else None

def substitute(channel: Channel, text: str, depth: int = 0) -> str:
    """`text` with ${VARIABLE}, ${VARIABLE:offset:length}, ${FUNCTION(argument)} and $[expression] replaced, inner ones first.

    Not Asterisk: what is nested deeper than MAX_NESTED stays as it is, and so does an expression over MAX_EXPRESSION."""
    done, at = "", 0
    if depth > MAX_NESTED:
        return text
    while True:
        start = min((index for index in (text.find("${", at), text.find("$[", at)) if index >= 0), default=-1)
        if start < 0:
            return done + text[at:]
        opening, closing = text[start + 1], "}" if text[start + 1] == "{" else "]"
        is_open, end = 1, start + 2
        while end < len(text) and is_open:
            is_open += (text[end] == opening) - (text[end] == closing)
            end += 1
        inner = substitute(channel, text[start + 2:end - 1 if not is_open else end], depth + 1)
        done += text[at:start] + (variable_text(channel, inner) if opening == "{" else evaluate(inner))
        at = end

def variable_text(channel: Channel, name: str) -> str:
    """The value of what stands in ${}: "" where there is none."""
    if name.endswith(")"):
        return channel.read_function(name) or ""
    name, *cut = name.split(":")
    value = channel.read_variable(name) or ""
    if not cut:
        return value
    start = max(0, c_integer(cut[0]) + (len(value) if c_integer(cut[0]) < 0 else 0))
    length = c_integer(cut[1]) if cut[1:] else len(value)
    return value[start:start + length] if length >= 0 else value[start:length]

def evaluate(text: str) -> str:
    """The value of $[...]: a | b, a & b, a comparison, a sum, a product of whole numbers, or the text itself (ast_expr2.y)."""
    if len(text) > MAX_EXPRESSION:
        return text
    left, found, right = text.partition("|")
    if found:
        left = evaluate(left)
        return left if is_condition(left) else evaluate(right)
    left, found, right = text.partition("&")
    if found:
        left = evaluate(left)
        return left if is_condition(left) and is_condition(evaluate(right)) else "0"
    match = COMPARISON.fullmatch(text)
    if match:
        left, sign, right = match.groups()
        return "1" if COMPARISONS[sign](*operands(evaluate(left), evaluate(right))) else "0"
    for match in filter(None, (SUM.fullmatch(text), PRODUCT.fullmatch(text))):
        left, sign, right = evaluate(match.group(1)), match.group(2), evaluate(match.group(3))
        if C_NUMBER.fullmatch(left) and C_NUMBER.fullmatch(right) and (int(right) or sign not in "/%"):
            return "%d" % SUMS[sign](int(left), int(right))
    return text.strip()

def operands(left: str, right: str) -> tuple:
    """What is compared: two numbers, else two texts without their quotes."""
    if C_NUMBER.fullmatch(left) and C_NUMBER.fullmatch(right):
        return int(left), int(right)
    return left.strip('"'), right.strip('"')

def is_condition(text: str) -> bool:
    """True for a number that is not 0, and for any other text that is not empty (pbx_checkcondition)."""
    match = C_INTEGER.match(text)
    return int(match.group(1)) != 0 if match else bool(text)

# --- 7.3 The queue of a stay
class Task:
    """What waits in a queue until its turn, runs, and is gone (control.c, control_dispatch_all).

        waits --begin()--> runs --end()--> tells --forget()--> gone        fail(), waiting or running: its channel hangs up

    In its turn it asks again what was asked when it was queued. forget() comes last, whatever happened: the queue goes on."""
    is_recording = False
    queue: TaskQueue                        # from TaskQueue.add() on
    timer: Timer | None = None              # of a task that takes time

    def begin(self) -> None:
        """Its turn has come."""

    def fail(self) -> None:
        """The channel hangs up, or the bridge has no channels left."""
        self.forget()

    def forget(self) -> None:
        if self.timer:
            self.timer.cancel()
        self.queue.go_on_after(self)

    def is_current(self) -> bool:
        """True while it runs: to be asked again after all that may have hung up its channel."""
        return self.queue.current is self

    def hear_digit(self, digit: str) -> None:
        """A digit arrives on the channel, or in the bridge."""

    def sends_audio(self) -> bool:
        """True while it writes frames."""
        return False

class TaskQueue:
    """What one channel does in turn: commands take no time, other tasks do, and all else waits behind them.

    Departure 10: with nothing before it, a command has taken effect when the reply to its request is sent."""
    __slots__ = ("stasis", "waiting", "current", "is_running", "is_closed", "when_idle")

    def __init__(self, stasis: Stasis, when_idle: Callable[[], None]) -> None:
        self.stasis, self.when_idle = stasis, when_idle         # what follows when nothing is left to do
        self.waiting, self.current, self.is_running, self.is_closed = collections.deque(), None, False, False

    def add(self, task: Task) -> None:
        """Run `task` now, or when those before it have ended."""
        task.queue = self
        if self.is_closed:
            task.fail()
            return
        self.waiting.append(task)
        self.run()

    def do(self, action: Callable[[], None]) -> None:
        """Run a command in its turn."""
        self.add(Command(action))

    def run(self) -> None:
        """Begin tasks until one takes time; what ends at once comes back here and finds the loop going on."""
        if self.is_running:
            return
        self.is_running = True
        while self.waiting and not self.current:
            task = self.current = self.waiting.popleft()
            if not self.stasis.attempt(task.begin):
                self.go_on_after(task)
        self.is_running = False
        if not self.current:
            self.when_idle()

    def go_on_after(self, task: Task) -> None:
        """Let the next one begin: `task` is over."""
        if self.current is task:
            self.current = None
            self.run()

    def fail(self) -> None:
        """The channel hangs up: what runs fails, then what waits, in turn, and whatever comes later."""
        self.is_closed = True
        tasks = [self.current] if self.current else []
        tasks += self.waiting
        self.waiting.clear()
        was_running, self.is_running = self.is_running, True            # nothing begins, nobody leaves, before all have failed
        for task in tasks:
            self.stasis.attempt(task.fail)
        self.current, self.is_running = None, was_running
        self.run()

    def sends_audio(self) -> bool:
        """True while the present task writes frames."""
        return bool(self.current and self.current.sends_audio())

    def has_recording(self) -> bool:
        return any(task.is_recording for task in [self.current, *self.waiting] if task)

class Command(Task):
    """Something that takes no time, and is done even when the channel hangs up before its turn."""

    def __init__(self, action: Callable[[], None]) -> None:
        self.action = action

    def begin(self) -> None:
        self.action()
        self.forget()

    def fail(self) -> None:
        if not self.is_current():                       # else it is what ends the channel
            self.action()

# --- 7.4 A channel
# Hangup causes (ITU-T Q.850) that ARI can give or meet, with Asterisk's wording.
CAUSE_TEXTS = {
    0: "Unknown", 1: "Unallocated (unassigned) number", 16: "Normal Clearing", 17: "User busy", 18: "No user responding",
    19: "User alerting, no answer", 21: "Call Rejected", 26: "Answered elsewhere", 28: "Invalid number format",
    31: "Normal, unspecified", 34: "Circuit/channel congestion", 38: "Network out of order",
    58: "Bearer capability not available", 127: "Interworking, unspecified"}
NORMAL_CLEARING, CALL_REJECTED, INTERWORKING = 16, 21, 127
SOFT_HANGUP_REQUESTED = 32              # a flag, not a cause: ChannelHangupRequest events with soft=true carry it
FIXED_CHANNEL_ITEMS = {                 # what CHANNEL() reads as on every channel here
    "lastexten": "", "lastcontext": "", "callid": "", "checkhangup": "0", "onhold": "0", "secure_bridge_foo": "",
    "audionativeformat": "(slin192)", "audioreadformat": "slin192", "audiowriteformat": "slin192", "videonativeformat": "(nothing)"}
C_SPACES = " \t\n\v\f\r"
PLAIN_NUMBER = re.compile(r"[0-9*#+().-]+", re.ASCII)
DIALABLE = re.compile(r"[0-9*#+]+\.?", re.ASCII)
GROUP_RANGE = re.compile(r"\s*([0-9]{1,9})(?:-([0-9]{1,9}))?")

class Function(NamedTuple):
    """A dialplan function NAME(argument): how it is read, None for an argument that is not known, and how it is written.

    The channel may be None where `is_global` holds."""
    read: Callable[[Stasis, Channel, str], str | None]
    write: Callable[[Stasis, Channel, str, str], None]
    is_global: bool = False

FUNCTIONS: dict[str, Function] = {}     # by name; each stands where its subject does

def split_call(call: str) -> tuple[Function | None, str]:
    """The function of NAME(argument) and its argument; None for one that is not known."""
    name, _, argument = call[:-1].partition("(") if call.endswith(")") else ("", "", "")
    return FUNCTIONS.get(name), argument

class Item(NamedTuple):
    """An item of a function that is kept with the channel: how it reads at first (None: it cannot be read), and what becomes of
    a value: f(value), None where it is not taken and the old one stays."""
    first: str | None = ""
    convert: Callable[[str], str | None] = str

def one_word(words: str) -> Callable[[str], str | None]:
    """An item that takes these words only, in any case."""
    known = {word.lower(): word for word in words.split()}
    return lambda value: known.get(value.lower())

def numbered_word(words: str, other: str) -> Callable[[str], str | None]:
    """An item that takes one of these words, or its number; `other` stands for numbers behind them, {} for other words."""
    known = words.split()
    def convert(value: str) -> str | None:
        if value.isdecimal() and len(value) < 10:
            return known[int(value)] if int(value) < len(known) else other
        return value.lower() if value.lower() in known else None
    return convert

def ama_flags(value: str) -> str:
    """A number, or 0 for a word that is none (ast_channel_string2amaflag)."""
    known = {"omit": 1, "billing": 2, "documentation": 3, "default": 3}
    return "%d" % (known.get(value.lower()) or (c_integer(value) % 2**32 if value[:1].isdecimal() else 0))

def group_numbers(value: str) -> str:
    """1,3-5 as 1, 3, 4, 5: numbers from 0 to 63 (ast_get_group)."""
    found: set[int] = set()
    for piece in value.split(","):
        match = GROUP_RANGE.match(piece)
        if match:
            first = int(match.group(1))
            found.update(number for number in range(first, min(63, int(match.group(2) or first)) + 1))
    return ", ".join(map(str, sorted(found)))

def group_names(value: str) -> str:
    """Names, in the order of a hash table of 19 buckets (ast_get_namedgroups)."""
    def bucket(name: str) -> int:
        return abs(wrap_integer(functools.reduce(lambda total, byte: total * 33 ^ byte, encode(name), 5381))) % 19
    return ", ".join(sorted(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()), key=bucket))

def number_or_none(value: str) -> str | None:
    return "%d" % c_integer(value) if C_INTEGER.match(value) else None

def yes_or_nothing(value: str) -> str:
    return "1" if is_true(value) else ""

CHANNEL_ITEMS = {                       # of CHANNEL(); what is set on one leg of a pair is set on both (func_channel.c)
    **dict.fromkeys("userfield parkinglot musicclass after_bridge_goto hangupsource accountcode peeraccount".split(), Item()),
    "amaflags": Item("3", ama_flags), "max_forwards": Item("20", number_or_none),
    **dict.fromkeys(("callgroup", "pickupgroup"), Item("", group_numbers)),
    **dict.fromkeys(("namedcallgroup", "namedpickupgroup"), Item("", group_names)),
    **dict.fromkeys(("secure_bridge_signaling", "secure_bridge_media"), Item("", yes_or_nothing)),
    "tonezone": Item(None, one_word("at au bg br be ch cl cn cz de dk ee es fi fr gr hu id il in it lt jp mx my nl no nz ph pl pt "
                                    "ru se sg th uk us us-old tw ve za")),
    "dtmf_features": Item("", lambda value: "".join(letter for letter in "TKHWX" if letter in value)
                          if value == value.upper() else None),
    "transfercapability": Item("SPEECH", one_word("SPEECH DIGITAL RESTRICTED_DIGITAL 3K1AUDIO DIGITAL_W_TONES VIDEO"))}
PUBLISHED_ITEMS = ("language", "accountcode", "peeraccount", "amaflags")        # others show with the next publication
PRESENTATIONS = {                       # how a caller may be shown: number, word of the functions, text of events (callerid.c)
    0: ("allowed_not_screened", "Presentation Allowed, Not Screened"),
    1: ("allowed_passed_screen", "Presentation Allowed, Passed Screen"),
    2: ("allowed_failed_screen", "Presentation Allowed, Failed Screen"), 3: ("allowed", "Presentation Allowed, Network Number"),
    32: ("prohib_not_screened", "Presentation Prohibited, Not Screened"),
    33: ("prohib_passed_screen", "Presentation Prohibited, Passed Screen"),
    34: ("prohib_failed_screen", "Presentation Prohibited, Failed Screen"),
    35: ("prohib", "Presentation Prohibited, Network Number"), 67: ("unavailable", "Number Unavailable")}
PARTY_ITEMS = {                         # of each party that CALLERID(), CONNECTEDLINE() and REDIRECTING() know (func_callerid.c)
    "tag": Item(), "subaddr": Item(), "num-plan": Item("0", number_or_none), "pres": Item("allowed_not_screened", one_word(
        " ".join(word for word, _ in PRESENTATIONS.values()))),
    "name-charset": Item("iso8859-1", numbered_word(
        "unknown iso8859-1 withdrawn iso8859-2 iso8859-3 iso8859-4 iso8859-5 iso8859-7 bmp utf8", "unknown"))}
REASON = Item("unknown", lambda value: numbered_word(
    "unknown cfb cfnr unavailable cfu time_of_day dnd deflection follow_me out_of_order away cf_dte send_to_vm",
    "not-known")(value) or value or "unknown")
OWN_ITEMS = {                           # what else a function of a party knows
    "CALLERID": {"dnid": Item(), "dnid-subaddr": Item(), **dict.fromkeys(("ani2", "dnid-num-plan"), Item("0", number_or_none))},
    "CONNECTEDLINE": {"source": Item("unknown", numbered_word(
        "unknown answer diversion transfer_active transfer_alerting", "not-known"))},
    "REDIRECTING": {"reason": REASON, "orig-reason": REASON, "count": Item("0", number_or_none)}}
PARTIES = {                             # whose name and number a function tells, by the prefix of the item; "" is the attribute
    "CALLERID": ("ani-", "priv-", ""), "CONNECTEDLINE": ("priv-", ""),
    "REDIRECTING": ("to-", "from-", "orig-", "priv-to-", "priv-from-", "priv-orig-")}
ITEM_ALIASES = {"ani": "ani-num", "ton": "num-plan", "dnid-num": "dnid", "num-pres": "pres", "name-pres": "pres"}

class Snooping(NamedTuple):
    """What a Snoop does: whose channel it is on, which side of it it hears, and into which it speaks.

    "in" is what comes from there, "out" what goes there."""
    target: Channel
    spies: set[str]
    whispers: set[str]

class Channel(Subject):
    """One channel: a leg of a Local pair, of a telephone, a Snoop, or external media.

    A Local pair is ;1 (near, `far_leg` set) and ;2 (far, `near_leg` set). Its states:

        ;1  Down ---ring on ;2---> Ringing ---answer on ;2---> Up
         '-----------------answer on ;2-----------------------^
        ;2  Ring ---answer on ;2---> Up              either leg, in any state: hang_up() ends both

    Live members change at once; what GET and some events show is `published`, renewed by publish(), which also derives the
    events from the difference."""
    kind = "channel"
    __slots__ = ("name", "state", "caller", "connected", "place", "language", "variables", "programs", "timer", "cause", "is_over",
                 "near_leg", "far_leg", "dialstring", "bridge", "absorbs_dtmf", "is_announcer", "told_connected", "muted",
                 "is_silence_on", "snoops", "snooping", "items", "voice")

    def __init__(self, stasis: Stasis, channel_id: str, name: str, state: str, place: Place,
                 phone: PhoneCall | None = None) -> None:
        super().__init__(stasis, channel_id)
        self.voice: Voice | None = phone                # who is at the other end of it, outside: a telephone, or a program
        self.name, self.state, self.place, self.language = name, state, place, "en"
        self.caller: tuple[str, str] = phone.caller if phone else ("", "")              # (name, number)
        self.connected: tuple[str, str] = ("", "")      # of who is on the other side, as far as it was told
        self.told_connected: tuple[str, str] | None = None              # as a bridge has told the other leg last
        self.variables: dict[str, tuple[str, str]] = {}                 # bare name: (name with its _ marks, value), oldest first
        # What functions keep: (function, item), or (function, party, item): value.
        self.items: dict[tuple, object] = dict(phone.items) if phone else {}
        self.programs: list[Program] = []               # what runs on it, outermost first; none: nobody has called it yet
        self.timer = Timer(stasis)                      # of the call, or of a step of the dialplan
        self.cause = 0                                  # the hangup cause, as far as there is one before the end
        self.is_over = False                            # from the first moment of the end on
        self.near_leg: Channel | None = None            # the other one, of a far leg
        self.far_leg: Channel | None = None             # the other one, of a near leg
        self.dialstring = ""                            # what a near leg calls
        self.bridge: Bridge | None = None
        self.absorbs_dtmf = self.is_announcer = False   # as addChannel said for that bridge
        self.muted: set[str] = set()                    # "in", "out"
        self.is_silence_on = False                      # the silence generator
        self.snooping: Snooping | None = None           # what a Snoop does
        self.snoops: list[Channel] = []                 # the Snoops that hear this one
        stasis.channels[channel_id] = stasis.channels_by_name[channel_id.lower()] = self
        stasis.channels_by_name.setdefault(name.lower(), self)          # the id of another channel may spell the same
        self.publish()

    @property
    def other_leg(self) -> Channel | None:
        return self.near_leg or self.far_leg

    @property
    def app(self) -> tuple[str, str]:
        """(application, data) of the dialplan that is shown: of the innermost program that shows one."""
        for program in reversed(self.programs):
            if program.app:
                return program.app
        return "", ""

    @property
    def stay(self) -> Program | None:
        """The stay in an application that is the innermost program, if one is."""
        innermost = self.programs[-1] if self.programs else None
        return innermost if innermost and innermost.application else None

    @property
    def application(self) -> Application | None:
        """The application that has it."""
        return self.programs[-1].application if self.programs else None

    @property
    def queue(self) -> TaskQueue | None:
        """What waits for the channel, in the stay."""
        return self.stay and self.stay.queue

    @property
    def is_originated(self) -> bool:
        """True for a near leg whose far leg was called with it, False for one that is made first and dialled later."""
        return bool(self.programs) and self.programs[0].is_outgoing

    @property
    def is_dialled(self) -> bool:
        """True for a near leg whose far leg, or telephone, has been called."""
        return bool(self.far_leg and self.far_leg.programs or self.phone and self.phone.is_called)

    def endpoint_followers(self) -> list[Application]:
        return [*self.phone.endpoint.followers, *self.phone.endpoint.technology.followers] if self.phone else []

    @property
    def is_in_dial_bridge(self) -> bool:
        """True in the hidden bridge of what was created, then dialled (control.c, add_to_dial_bridge)."""
        return self.is_dialled and not self.is_originated and len(self.programs) == 1

    # Snapshots and events
    def snapshot(self) -> Encoded:
        """The channel as JSON, as it is now; the published one where nothing has changed since."""
        app_name, app_data = self.app
        context, exten, priority = self.place
        value = {
            "id": self.id, "name": self.name, "state": self.state, "protocol_id": self.phone.call_id if self.phone else "",
            "caller": {"name": self.caller[0], "number": self.caller[1]},
            "connected": {"name": self.connected[0], "number": self.connected[1]},
            "accountcode": self.items.get(("CHANNEL", "accountcode"), ""),
            "dialplan": {"context": context, "exten": exten, "priority": priority, "app_name": app_name, "app_data": app_data},
            "creationtime": self.created, "language": self.language}
        if self.stasis.channelvars:
            value["channelvars"] = {name: self.shown_variable(name) for name in self.stasis.channelvars}
        return self.published if self.published and self.published == value else Encoded(value)

    def publish(self) -> None:
        """Renew the published snapshot and tell what has changed since the last one (stasis_channels.c)."""
        old, new = self.published, self.snapshot()
        self.published = new
        if old is None:
            self.emit("ChannelCreated", channel=new)
        if old is None or old is new:
            return
        if old["state"] != new["state"]:
            self.emit("ChannelStateChange", channel=new)
        was, now = old["dialplan"], new["dialplan"]
        moved = any(was[key] != now[key] for key in Place._fields)
        if now["app_name"] and (moved or not was["app_name"]):
            self.emit("ChannelDialplan", dialplan_app=now["app_name"], dialplan_app_data=now["app_data"], channel=new)
        if old["caller"] != new["caller"]:
            presentation, text = self.presentation()
            self.emit("ChannelCallerId", caller_presentation=presentation, caller_presentation_txt=text, channel=new)
        if old["connected"] != new["connected"]:
            self.emit("ChannelConnectedLine", channel=new)

    def announce_hangup(self, cause: int | None, soft: bool) -> None:
        """`cause` is a flag where `soft` holds: somebody here asks for it; None: it is not told."""
        head = {"cause": cause, "soft": True} if soft else {"cause": cause} if cause is not None else {}
        self.emit("ChannelHangupRequest", head=head, channel=self.snapshot())

    def announce_dial(self, status: str) -> None:
        """A Dial event about this near leg: the begin shows the last published snapshot, a status a fresh one."""
        repeats = not status or self.is_originated
        self.emit("Dial", dialstatus=status, forward="", dialstring=self.dialstring if repeats else "",
                  peer=self.snapshot() if status else self.published)

    # Variables and functions
    def set_variable(self, name: str, value: str | None) -> None:
        """Set a variable, or unset it with None; a name that ends in ) is a function to write."""
        if name.endswith(")"):
            function, argument = split_call(name)
            if function:
                function.write(self.stasis, self, argument, value or "")
            else:
                self.stasis.hint("the function in %s does not exist here, and setting it has no effect" % name)
            return
        self.variables.pop(bare_name(name), None)
        if value is not None:
            self.variables[bare_name(name)] = name, value
        self.emit("ChannelVarset", head={"variable": name, "value": value or ""}, channel=self.published)

    def own_variable(self, name: str) -> str | None:
        """The value of a variable, whatever marks it was set with; None where it is not set."""
        return self.variables.get(name, ("", None))[1]

    def shown_variable(self, name: str) -> str:
        """What `channelvars` shows under a name: a function's value, the channel's variable, a global one, or nothing."""
        if "(" in name:
            return self.read_function(name.rstrip()) or ""
        value = self.own_variable(name)
        return value if value is not None else self.stasis.global_variables.get(name, "")

    def read_variable(self, name: str) -> str | None:
        """A built-in variable, whatever was set under its name; else the channel's own; else a global one."""
        built_in = {"CONTEXT": self.place.context, "EXTEN": self.place.exten, "PRIORITY": "%d" % self.place.priority,
                    "CHANNEL": self.name, "UNIQUEID": self.id, "HANGUPCAUSE": "%d" % self.cause, "HINT": None, "HINTNAME": None,
                    "CALLINGPRES": "%d" % self.presentation()[0], "CALLINGTNS": "0",
                    "CALLINGANI2": self.items.get(("CALLERID", "", "ani2"), "0"),
                    "CALLINGTON": self.items.get(("CALLERID", "", "num-plan"), "0"),
                    **built_in_globals(self.stasis)}
        if name in built_in:
            return built_in[name]
        value = self.own_variable(name)
        return value if value is not None else self.stasis.global_variables.get(name)

    def presentation(self) -> tuple[int, str]:
        """(number, text) of how the caller may be shown (main/callerid.c)."""
        word = self.items.get(("CALLERID", "", "pres"), "allowed_not_screened") if any(self.caller) else "unavailable"
        return next((number, text) for number, (known, text) in PRESENTATIONS.items() if known == word)

    def read_function(self, call: str) -> str | None:
        """The value of FUNCTION(argument); None for a function, or an argument of CHANNEL(), that is not known."""
        function, argument = split_call(call)
        return function.read(self.stasis, self, argument) if function else None

    def inherit_variables(self, parent: Channel) -> None:
        """Take over the parent's _X as X and its __X as __X (ast_channel_inherit_variables)."""
        for name, value in reversed(list(parent.variables.values())):
            if name.startswith("_"):
                self.set_variable(name if name.startswith("__") else name[1:], value)

    # What the two legs of a call tell each other
    def ring(self) -> None:
        """Let the near leg ring; without effect once the far one is Up."""
        if self.near_leg and self.state == "Ring" and not self.is_over:
            self.near_leg.other_side_rings()
        elif self.phone:
            self.phone.reckon()

    def other_side_rings(self) -> None:
        """The far leg, or the telephone, of this near leg rings, for the first time or again."""
        if self.state == "Down":
            self.state = "Ringing"
            self.publish()
        self.announce_dial("RINGING")

    def progress(self) -> None:
        """Early media on an unanswered far leg: the near one hears of it."""
        if self.near_leg and self.state != "Up" and not self.is_over:
            self.near_leg.announce_dial("PROGRESS")

    def answer(self) -> None:
        """Answer a far leg that rings: both legs are Up, and the near one goes on; else without effect."""
        near = self.near_leg
        if self.state != "Ring" or self.is_over or not (near or self.phone):
            return
        self.state = "Up"
        if near:
            near.state = "Up"
        self.publish()
        if near:
            near.other_side_answers()
        else:
            self.phone.reckon()

    def other_side_answers(self) -> None:
        """The far leg, or the telephone, of this near leg has answered."""
        self.state = "Up"
        self.timer.cancel()
        self.publish()
        self.announce_dial("ANSWER")
        self.programs[0].answered()

    def hear_digit(self, digit: str, duration_ms: int) -> None:
        """ChannelDtmfReceived here, then on the far sides of the other members of a mixing bridge, however far that goes."""
        hearers, heard = collections.deque([self]), {self}
        while hearers:
            channel = hearers.popleft()
            if channel.is_over or channel.bridge and channel.bridge.technology == "native_rtp":
                continue
            channel.emit("ChannelDtmfReceived", digit=digit, duration_ms=duration_ms, channel=channel.published)
            tasks = [channel.queue and channel.queue.current]
            if channel.bridge and not channel.bridge.is_holding and not channel.absorbs_dtmf:
                tasks += [internal.queue.current for internal in channel.bridge.internals()]
                far_sides = [member.other_leg for member in channel.bridge.channels() if member is not channel]
                beyond = [far_side for far_side in far_sides if far_side and far_side not in heard]
                heard.update(beyond)                    # two pairs between two bridges would pass it round for ever
                hearers.extend(beyond)
            for task in tasks:
                if task:
                    task.hear_digit(digit)

    def set_peer_call_id(self, peer: Channel | Internal | None) -> None:
        """BRIDGEPVTCALLID: the SIP call of the one telephone on the other side (bridge.c, set_bridge_peer_vars)."""
        phone = getattr(peer, "phone", None)
        if phone:
            self.set_variable("BRIDGEPVTCALLID", phone.call_id)
        elif self.own_variable("BRIDGEPVTCALLID"):
            self.set_variable("BRIDGEPVTCALLID", None)

    def set_muted(self, directions: set[str], is_on: bool) -> None:
        """Mute or unmute `in` and `out`; a bridge tells BRIDGEPEER anew when muting begins or ends."""
        before = bool(self.muted)
        self.muted = self.muted | directions if is_on else self.muted - directions
        if self.bridge and before != bool(self.muted):
            self.bridge.rearrange(exchanges_lines=False)

    def set_silence(self, is_on: bool) -> None:
        """Start or stop the silence generator."""
        if is_on:
            self.progress()
        self.is_silence_on = is_on
        self.stasis.audio_changed()

    def sends_audio(self) -> bool:
        """True while a playback, a tone or a silence generator writes to this channel."""
        innermost = self.programs[-1] if self.programs else None
        return self.is_silence_on or bool(innermost and innermost.sends_audio())

    @property
    def phone(self) -> PhoneCall | None:
        """What a telephone has to do with it, if one has."""
        return self.voice if self.voice and self.voice.is_phone else None

    def hears_audio(self) -> bool:
        """True while frames arrive: from a telephone or program, or from the other leg, to which somebody sends."""
        return next(self.audio(False), ABSENT) is not ABSENT

    def audio(self, is_written: bool) -> Iterator[Voice | None]:
        """Who sends what is written to this channel, or what arrives on it: a voice; None for playbacks, tones and silence."""
        asked, left = set(), [(self, is_written)]
        while left:
            item = channel, is_written = left.pop()
            if item in asked:           # two pairs between two bridges would pass it round for ever
                continue
            asked.add(item)
            if is_written:
                bridge = channel.bridge
                if channel.sends_audio() or bridge and bridge.sends_audio():
                    yield None
                if bridge and not bridge.is_holding:
                    left.extend((member, False) for member in bridge.channels() if member is not channel)
                left.extend((snoop, True) for snoop in channel.snoops if "out" in snoop.snooping.whispers)
            elif channel.voice:
                if channel.voice.is_heard():
                    yield channel.voice if "in" not in channel.muted else None
            elif channel.snooping:
                left.extend((channel.snooping.target, side == "out") for side in channel.snooping.spies)
            elif channel.other_leg:
                left.append((channel.other_leg, True))

    # The end
    def leave_bridge(self, leaves_app: bool = False) -> None:
        """Leave the bridge that it is in; of the hidden one nothing is seen but a publication."""
        if self.bridge:
            self.bridge.remove(self, leaves_app)
        elif self.is_in_dial_bridge:
            self.set_cause_of_leaving()
            self.publish()

    def set_cause_of_leaving(self) -> None:
        """Asterisk: leaving a bridge sets a cause where there is none (bridge_channel.c, channel_set_cause)."""
        self.cause = self.cause or NORMAL_CLEARING

    def hang_up(self, cause: int = NORMAL_CLEARING) -> None:
        """What DELETE does: this leg ends, then its other one with the same cause."""
        self.announce_hangup(SOFT_HANGUP_REQUESTED, True)
        if self.programs:               # Asterisk: a ;2 that nobody has called goes only with its ;1 (core_local.c)
            self.end(cause)

    def end(self, cause: int = 0) -> None:
        """End this channel and all that lives by it: its Snoops, the Snoops of those, however many, then its other leg."""
        steps = [functools.partial(self.end_programs, cause)]
        while steps:
            steps.extend(reversed(steps.pop()()))

    def end_programs(self, cause: int) -> list[Callable[[], list]]:
        """The first half of an end, from the innermost program outwards; returns what comes next, in order."""
        if self.is_over:
            return []
        self.is_over = True
        self.timer.cancel()
        for program in reversed(self.programs):
            self.stasis.attempt(functools.partial(program.end, cause))
        return [*(functools.partial(snoop.end_programs, 0) for snoop in self.snoops),
                functools.partial(self.destroy, cause or self.cause)]

    def destroy(self, cause: int) -> list[Callable[[], list]]:
        """The second half, ChannelDestroyed; returns what comes next: the end of the other leg."""
        other = self.other_leg if self.other_leg and not self.other_leg.is_over else None
        if other and other.programs:
            other.announce_hangup(cause, False)
        if self.voice:
            self.voice.end()
        self.publish()
        self.emit("ChannelDestroyed", cause=cause, cause_txt=CAUSE_TEXTS[cause], channel=self.published)
        self.forget()
        if self.voice:
            self.voice.forget()
        return [functools.partial(other.end_programs, cause if other.programs else 0)] if other else []

    def forget(self) -> None:
        """Leave the tables; a name of it stays where that is another channel's by now."""
        self.followers.clear()
        del self.stasis.channels[self.id]
        for name in (self.name.lower(), self.id.lower()):
            if self.stasis.channels_by_name.get(name) is self:
                del self.stasis.channels_by_name[name]
        if self.snooping:
            target = self.snooping.target
            target.snoops.remove(self)
            if target.bridge and target.bridge.is_native():
                target.bridge.rearrange(exchanges_lines=False)

def bare_name(name: str) -> str:
    """A variable's name without the one or two underscores that say how it is inherited."""
    return name[2:] if name.startswith("__") else name[1:] if name.startswith("_") else name

def parse_caller_id(text: str) -> tuple[str, str]:
    """(name, number) of a caller id such as `"Name" <number>` (ast_callerid_parse)."""
    text = text.strip(C_SPACES)
    before, bracket, after = text.rpartition("<")
    if bracket:
        return before.strip(C_SPACES).strip('"'), clean_number(after.partition(">")[0])
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):
        return text[1:-1], ""
    number = clean_number(text.replace(" ", ""))
    return ("", number) if DIALABLE.fullmatch(number) else (text, "")

def clean_number(number: str) -> str:
    """A number without ( ) - and every . but a last one, when it holds nothing else than digits and those."""
    if not PLAIN_NUMBER.fullmatch(number):
        return number
    return re.sub(r"[()-]|\.(?!$)", "", number)

class PartyFunction:
    """CALLERID(), CONNECTEDLINE() or REDIRECTING(): a party and what is asked of it, both named by the argument.

        CALLERID(num)          prefix ""        the number of the attribute of a channel that the function is about, `caller`
        CALLERID(ani-name)     prefix "ani-"    the name of another party, which is kept in Channel.items
        CALLERID(priv-tag)     prefix "priv-"   an item that every party has (PARTY_ITEMS)
        CALLERID(ani2)                          an item of the function itself (OWN_ITEMS)"""

    def __init__(self, name: str, attribute: str = "") -> None:
        self.name, self.attribute = name, attribute
        self.own_items, self.prefixes = OWN_ITEMS[name], PARTIES[name]

    def parse(self, argument: str) -> tuple[str, str]:
        """(prefix, what is asked). Asterisk: of "number" three letters are enough (func_callerid.c, party_id_read)."""
        item = ITEM_ALIASES.get(argument.lower(), argument.lower())
        prefix = next((prefix for prefix in self.prefixes if item.startswith(prefix)), None)
        if prefix is None or item in self.own_items:
            return "", item
        asked = ITEM_ALIASES.get(item[len(prefix):], item[len(prefix):])
        return prefix, "num" if asked.startswith("num") and "-" not in asked else asked

    def item(self, prefix: str, asked: str) -> Item | None:
        """The kept item that is asked for; None where that is a name, a number, or nothing."""
        return self.own_items.get(asked) or (PARTY_ITEMS.get(asked) if prefix in self.prefixes else None)

    def party(self, channel: Channel, prefix: str) -> tuple[str, str]:
        """(name, number)."""
        if self.attribute and not prefix:
            return getattr(channel, self.attribute)
        return channel.items.get((self.name, prefix, "party"), ("", ""))

    def read(self, stasis: Stasis, channel: Channel, argument: str) -> str | None:
        """What is asked, "" for what is not known; None without an argument."""
        if self.name == "CALLERID" and argument.lower() == "rdnis":
            return FUNCTIONS["REDIRECTING"].read(stasis, channel, "from-num")
        prefix, asked = self.parse(argument)
        (name, number), item = self.party(channel, prefix), self.item(prefix, asked)
        if argument.lower() == "pres" and not (name or number):
            return "unavailable"
        if item:
            return channel.items.get((self.name, prefix, asked), item.first)
        shown = {"name": name, "num": number, "all": '"%s" <%s>' % (name, number), "name-valid": "%d" % bool(name),
                 "num-valid": "%d" % bool(number)} if prefix in self.prefixes else {}
        return shown.get(asked, "") if argument else None

    def write(self, stasis: Stasis, channel: Channel, argument: str, value: str) -> None:
        """Set it, and publish the channel; what cannot be set stays."""
        if self.name == "CALLERID" and argument.lower() == "rdnis":
            FUNCTIONS["REDIRECTING"].write(stasis, channel, "from-num", value)
            return
        prefix, asked = self.parse(argument)
        (name, number), item, value = self.party(channel, prefix), self.item(prefix, asked), value.strip(C_SPACES)
        party = {"name": (value, number), "num": (name, value), "all": parse_caller_id(value)}.get(asked)
        if item and item.convert(value) is not None:
            channel.items[self.name, prefix, asked] = item.convert(value)
        elif party and self.attribute and not prefix:
            setattr(channel, self.attribute, party)
        elif party and prefix in self.prefixes:
            channel.items[self.name, prefix, "party"] = party
        if self.attribute == "connected" and channel.other_leg:
            channel.other_leg.caller = channel.connected        # Asterisk: unpublished, as in Bridge.tell_connected_line()
        channel.publish()

def read_item(stasis: Stasis, channel: Channel, argument: str) -> str | None:
    """The item of CHANNEL(); None for one that is not known."""
    name = argument.lower()
    if name in CHANNEL_ITEMS:
        return channel.items.get(("CHANNEL", name), CHANNEL_ITEMS[name].first)
    peers = channel.bridge.channels() if channel.bridge else []
    phone = {"audionativeformat": "(ulaw)", "audioreadformat": "ulaw", "audiowriteformat": "ulaw",
             "pjsip,call-id": channel.phone.call_id, "endpoint": channel.phone.endpoint.resource} if channel.phone else {}
    return {"name": channel.name, "channame": channel.name, "state": channel.state, "language": channel.language,
            "uniqueid": channel.id, "linkedid": channel.near_leg.id if channel.near_leg else channel.id,
            "context": channel.place.context, "exten": channel.place.exten, "appname": channel.app[0], "appdata": channel.app[1],
            "channeltype": channel.name.partition("/")[0],
            "peer": "".join(peer.name for peer in peers if peer is not channel) if len(peers) == 2 else "",
            **FIXED_CHANNEL_ITEMS, **phone}.get(name)

def write_item(stasis: Stasis, channel: Channel, argument: str, value: str) -> None:
    """CHANNEL()=, on both legs; the account code of one is the peer's on the other. Nothing is told (func_channel_write)."""
    name = argument.lower()
    crossed = {"accountcode": "peeraccount", "peeraccount": "accountcode"}.get(name, name)
    kept = CHANNEL_ITEMS[name].convert(value) if name in CHANNEL_ITEMS else None
    if name == "hangupsource" and (channel.items.get(("CHANNEL", name)) or not value):
        kept = None                     # Asterisk: the first one counts (ast_set_hangupsource)
    for leg, item in ((channel.other_leg, crossed), (channel, name)):
        if leg and name == "language":
            leg.language = value
        elif leg and kept is not None:
            leg.items["CHANNEL", item] = kept
        if leg and name in PUBLISHED_ITEMS:
            leg.publish()

FUNCTIONS.update({known.name: Function(known.read, known.write) for known in (
    PartyFunction("CALLERID", "caller"), PartyFunction("CONNECTEDLINE", "connected"), PartyFunction("REDIRECTING"))})
FUNCTIONS["CHANNEL"] = Function(read_item, write_item)

# --- 7.5 What runs on it
DIAL_STATUS_OF_CAUSE = {17: "BUSY", 34: "CONGESTION"}       # every other cause ends an unanswered call as NOANSWER
SOFT_HANGUP_DIALPLAN_ENDED = 16         # a flag, too
MAX_STEPS = 1000                        # of a dialplan within a second: one that goes round takes more
ANSWER_SECONDS = 0.5                    # how long Answer() lets media settle (pbx_builtin_answer)

class Program:
    """What runs on a channel, inside the programs before it. `app` is what it shows of itself, None where that is nothing.

        originated near leg     [Outgoing], once answered [Outgoing, InStasis] or [Outgoing, Dialplan]
        far leg                 [] until it is called, [Dialplan], at a step Stasis() [Dialplan, InStasis]
        created leg, Snoop      [InStasis]                  external media  [Outgoing, InStasis]
        continued               [.., InStasis, Dialplan, ..] where no dialplan ran before: the stay is over, and ends last"""
    app: tuple[str, str] | None = None
    is_outgoing = False
    application: Application | None = None              # that may act on the channel
    queue: TaskQueue | None = None

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        channel.programs.append(self)

    def answered(self) -> None:
        """The far leg has answered."""

    def sends_audio(self) -> bool:
        """True while it writes frames to the channel."""
        return bool(self.queue and self.queue.sends_audio())

    def end(self, cause: int) -> None:
        """The time of the channel is over; the innermost program ends first."""

class Outgoing(Program):
    """The call of the far leg. When that answers, the near one goes on in the application `app_data`, or at `place`."""
    app = ("AppDial2", "(Outgoing Line)")
    is_outgoing = True

    def __init__(self, channel: Channel, app_data: str, place: Place | None) -> None:
        super().__init__(channel)
        self.app_data, self.place, self.is_waiting = app_data, place, True
        channel.publish()

    def answered(self) -> None:
        self.is_waiting = False
        if self.place:
            self.channel.place = self.place
            Dialplan(self.channel).run()
        else:
            run_stasis_only(self.channel, self.app_data)

    def fail(self) -> None:
        """Nobody is there, or nobody has answered in time: the end of the channel, without a word about the call."""
        self.is_waiting = False
        self.channel.end()

    def end(self, cause: int) -> None:
        """An unanswered call tells how dialling has ended."""
        if self.is_waiting:
            self.channel.announce_dial(DIAL_STATUS_OF_CAUSE.get(cause, "NOANSWER"))

class InStasis(Program):
    """Stasis(data): the stay in an application (res_stasis.c, stasis_app_exec).

    While it is the innermost program the application may act on the channel. What takes its turn waits in `queue`, and the stay
    ends when all that is queued has been done: continue and move but say where to go then. The last one of each counts, and
    continue beats move. So nothing in the queue ever finds its channel in other hands; at a hang-up it may be over."""

    def __init__(self, channel: Channel, data: str) -> None:
        super().__init__(channel)
        self.app = ("Stasis", data)
        self.queue = TaskQueue(channel.stasis, self.go_on)
        self.continues = False
        self.next_app: tuple[str, list[str]] | None = None

    def enter(self, application: Application, args: list[str]) -> None:
        """StasisStart; the application follows the channel while it has it."""
        self.application = application
        self.channel.follow(application)
        self.channel.stasis.emit([application], "StasisStart", args=args, channel=self.channel.snapshot())

    def leave(self) -> None:
        """StasisEnd; the interest that came with entering ends."""
        application, self.application = self.application, None
        self.channel.stasis.emit([application], "StasisEnd", channel=self.channel.snapshot())
        self.channel.unfollow(application)

    def move(self, app: str, args: list[str]) -> None:
        """Go on in another application."""
        self.next_app = app, args

    def continue_at(self, place: Place) -> None:
        """Go on at a place in the dialplan; the bridge is left at once (control.c, app_control_continue)."""
        self.channel.leave_bridge(leaves_app=True)
        # Asterisk: until then the step before it is shown where a dialplan goes on (pbx.c, ast_explicit_goto).
        self.channel.place = place._replace(priority=place.priority - 1) if self.dialplan() else place
        self.continues = True

    def dialplan(self) -> Dialplan | None:
        """The dialplan that the stay is a step of."""
        return next((program for program in reversed(self.channel.programs) if isinstance(program, Dialplan)), None)

    def go_on(self) -> None:
        """Nothing is queued: go where continue or move have said."""
        channel, dialplan = self.channel, self.dialplan()
        if channel.is_over or not self.application or not (self.continues or self.next_app):
            return
        if not self.continues:
            self.change_application(*self.next_app)
            return
        if channel.bridge:                              # joined since continue had its turn
            channel.leave_bridge(leaves_app=True)
        self.leave()
        channel.set_silence(False)
        if dialplan:
            channel.programs.remove(self)
            channel.set_variable("STASISSTATUS", "SUCCESS")
            dialplan.go_on()
        elif dialplan_step(channel.stasis, channel.place):
            Dialplan(channel).run()
        else:
            channel.end()

    def change_application(self, app: str, args: list[str]) -> None:
        """StasisEnd and StasisStart; ApplicationMoveFailed to the present application when nobody is in the other."""
        self.next_app, stasis = None, self.channel.stasis
        target = stasis.active_application(app)
        if target:
            self.leave()
            self.enter(target, args)
        else:
            stasis.emit([self.application], "ApplicationMoveFailed", channel=self.channel.published, destination=app, args=args)

    def end(self, cause: int) -> None:
        """What is queued is done to its end, then the bridge is left, then the application."""
        if self.application:
            self.queue.fail()
            self.channel.leave_bridge(leaves_app=True)
            self.leave()
        self.channel.set_variable("STASISSTATUS", "SUCCESS")
        self.app = None

def run_stasis(channel: Channel, data: str) -> bool:
    """Run Stasis(data); False when nobody is there (app_stasis.c, app_exec)."""
    shown, program = channel.app, InStasis(channel, data)
    if channel.app != shown:                            # a step of a dialplan has published itself
        channel.publish()
    channel.set_variable("STASISSTATUS", "")
    name, _, args = data.partition(",")
    application = channel.stasis.active_application(name)
    if application:
        program.enter(application, args.split(",") if args else [])
    else:
        channel.set_variable("STASISSTATUS", "FAILED")
        channel.programs.remove(program)
    return application is not None

def run_stasis_only(channel: Channel, data: str) -> None:
    """Run Stasis(data) without dialplan, as near legs, Snoops and external media do; the end when nobody is there."""
    if not run_stasis(channel, data):
        channel.end()

class Dialplan(Program):
    """The dialplan from the place of the channel on (pbx.c, __ast_pbx_run)."""
    is_playing, begun, steps = False, 0.0, 0            # when a second began, and the steps in it

    def sends_audio(self) -> bool:
        return self.is_playing

    def run(self) -> None:
        """Run until something waits, or nothing is left, or a step has ended the channel."""
        channel = self.channel
        while True:
            step = dialplan_step(channel.stasis, channel.place)
            if channel.stasis.now >= self.begun + 1:
                self.begun, self.steps = channel.stasis.now, 0
            self.steps += 1
            if self.steps > MAX_STEPS:
                channel.stasis.hint("the dialplan goes round at %s,%s,%d: the call has ended" % channel.place)
            if step is None or self.steps > MAX_STEPS:
                channel.end()
                return
            if step[0]:
                self.app = step[0], substitute(channel, step[1])
                channel.publish()
                if self.waits(*self.app) or channel.is_over:
                    return
            self.end_step()

    def waits(self, app: str, data: str) -> bool:
        """Run one dialplan application; True when it waits for something: go_on() is called then."""
        channel = self.channel
        if app == "Stasis":
            return run_stasis(channel, data)
        if app == "Wait":
            channel.timer.set(max(0.0, c_real(data)), self.go_on)
            return True
        if app == "Answer" and channel.state != "Up":
            channel.answer()
            if not channel.is_over:                     # the near leg may have gone on to its end
                channel.timer.set(0.0 if channel.phone else ANSWER_SECONDS, self.go_on)
            return True
        if app == "Playback":
            self.play(*split_quoted(data)[:2])
            return True
        self.run_at_once(app, data)
        return False

    def run_at_once(self, app: str, data: str) -> None:
        """Run an application that takes no time; Verbose and NoOp do nothing."""
        channel = self.channel
        if app == "Set":
            name, _, value = data.partition("=")
            channel.set_variable(name, value)
        elif app == "Hangup":
            channel.end(c_integer(data) if c_integer(data) in CAUSE_TEXTS and data else NORMAL_CLEARING)
        elif app == "Ringing":
            channel.ring()
        elif app == "Progress":
            channel.progress()
        elif app == "Goto":
            self.go_to(data)
        elif app == "GotoIf":
            condition, _, targets = data.partition("?")
            targets = targets.partition(":")
            target = targets[0 if is_condition(condition.strip()) else 2].strip()
            if target:
                self.go_to(target)

    def go_to(self, target: str) -> None:
        """Go on at [[CONTEXT,]EXTEN,]PRIORITY, which may be a label; the end of the channel where there is no such label."""
        *place, label = [part.strip() for part in target.split(",")][-3:]
        context = place[0] if len(place) == 2 else self.channel.place.context
        exten = place[-1] if place else self.channel.place.exten
        priority = labelled_priority(self.channel.stasis, context, exten, label)
        if priority is None:
            self.channel.stasis.hint("there is no label %s at %s,%s: the call has ended" % (label, context, exten))
            self.channel.end()
        else:
            self.channel.place = Place(context, exten, priority - 1)

    def play(self, files: str, options: str = "") -> None:
        """Playback: answer, unless `noanswer` is said, and play files one after the other; PLAYBACKSTATUS tells how it went."""
        channel = self.channel
        if channel.state != "Up" and "noanswer" not in options:
            channel.answer()
        sounds = [sound_of(channel.stasis, "sound:" + name, channel.language) for name in files.split("&")]
        status = "SUCCESS" if all(sound.outcome == SUCCEEDS for sound in sounds) else "FAILED"
        def over() -> None:
            self.is_playing = False
            channel.stasis.audio_changed()
            channel.set_variable("PLAYBACKSTATUS", status)
            self.go_on()
        if not channel.is_over:
            channel.timer.set(sum(sound.milliseconds or 0 for sound in sounds) / 1000, over)
            self.is_playing = True
            channel.stasis.audio_changed()

    def end_step(self) -> None:
        self.app = ("", "")
        self.channel.place = self.channel.place._replace(priority=self.channel.place.priority + 1)

    def go_on(self) -> None:
        """Run what follows the step that waited."""
        self.end_step()
        self.run()

    def end(self, cause: int) -> None:
        """The soft hangup of the PBX, then extension h where the context has one. One inside a stay ends without a word."""
        channel = self.channel
        if any(isinstance(program, InStasis) for program in channel.programs[:channel.programs.index(self)]):
            self.app = None
            return
        nothing = ("", "") if channel.programs[0] is self else None     # what is shown then is the call
        if self.app:                    # else no step was ever run
            self.app = nothing
        channel.announce_hangup(SOFT_HANGUP_DIALPLAN_ENDED, True)
        place, stasis = channel.place._replace(exten="h", priority=1), channel.stasis
        for _ in range(MAX_STEPS if dialplan_step(stasis, place) else 0):
            channel.place = place
            app, data = dialplan_step(stasis, place)
            if app:
                self.app = app, substitute(channel, data)
                channel.publish()
                self.run_at_once(*self.app)             # what would wait, or end the channel, does nothing now
            self.end_step()
            self.app, place = nothing, channel.place
            if dialplan_step(stasis, place) is None:
                break

# --- 7.6 Calls
# A call to Local/100@stasis-b, the near leg in an application a: what each of them is told, in order (core_local.c, dial.c).
#
#     originate()         a  Dial ""                      b  ChannelDialplan, ChannelVarset STASISSTATUS, StasisStart
#     ring of ;2          a  ChannelStateChange Ringing, Dial RINGING
#     answer of ;2        b  ChannelStateChange Up        a  ChannelStateChange Up, Dial ANSWER, ChannelVarset, StasisStart
#     hang_up() of ;1     a  ChannelHangupRequest, StasisEnd, ChannelVarset, ChannelDestroyed, once b is told
#                         b  ChannelHangupRequest, StasisEnd, ChannelVarset, ChannelHangupRequest, ChannelDialplan, ChannelDestroyed
CALL_SECONDS = 30                       # originate without a timeout

def local_place(resource: str) -> tuple[str, str]:
    """(exten, context) of EXTEN@CONTEXT/OPTIONS; "" where one is missing."""
    exten, _, context = resource.partition("/")[0].partition("@")
    return exten, context

def new_pair(stasis: Stasis, resource: str, near_id: str, far_id: str) -> Channel:
    """The near leg of a new Local pair to EXTEN@CONTEXT[/OPTIONS]."""
    exten, context = local_place(resource)
    place = Place(context or "default", exten or "s", 1)
    name = "Local/%s@%s-%08x" % (exten, place.context, next(stasis.pair_serial))
    near = Channel(stasis, near_id, name + ";1", "Down", place)
    far = Channel(stasis, far_id, name + ";2", "Ring", place)
    near.far_leg, far.near_leg, near.dialstring = far, near, resource
    return near

def call_other_side(near: Channel) -> bool:
    """Call the telephone, or ;2: that takes over variables and lines, and starts its dialplan; False when it has nowhere to go."""
    if near.phone:
        near.phone.is_called = True
        near.announce_dial("")
        near.phone.media_change()
        near.phone.follow_habit()
        return True
    far = near.far_leg
    far.caller, far.connected, far.language = near.connected, near.caller, near.language
    far.items["CHANNEL", "peeraccount"] = near.items.get(("CHANNEL", "accountcode"), "")
    far.variables = dict(near.variables)
    for name, value in reversed(list(far.variables.values())):
        far.emit("ChannelVarset", head={"variable": name, "value": value}, channel=far.published)
    far.publish()
    if dialplan_step(near.stasis, far.place._replace(exten=local_place(near.dialstring)[0])) is None:
        near.stasis.hint("nobody is at Local/%s, and so the call has ended at once: stasis-APP is a context while the application "
                         "APP is connected; --extensions FILE has others" % near.dialstring)
        return False
    near.announce_dial("")
    Dialplan(far).run()
    return True

def originate(near: Channel, caller_id: str | None, originator: Channel | None, variables: dict[str, str], app: str | None,
              app_args: str | None, place: Place | None, seconds: float | None) -> Encoded:
    """Call the far leg of a new pair; the near one enters `app`, or the dialplan at `place`, when it is answered.

    What comes back is the near leg as it is before it is dialled; it waits `seconds` for an answer, None: for ever."""
    if originator and near.phone:
        near.connected = originator.caller
    call = Outgoing(near, stasis_data(app or "", app_args), place)
    if originator:
        near.inherit_variables(originator)
        near.language, near.connected = originator.language, originator.caller
    if caller_id:
        given, has_name = parse_caller_id(caller_id), "<" in caller_id
        near.caller = given[0] if given[0] or has_name else near.caller[0], given[1] or near.caller[1]
        if near.phone:
            near.publish()
        # Asterisk: what the caller id leaves out stays the originator's (pbx.c, pbx_outgoing_attempt).
        near.connected = given[0] or near.connected[0], given[1] or near.connected[1]
    if originator or caller_id:
        near.publish()
    for name, value in variables.items():
        near.set_variable(name, value)
    for leg in filter(None, (near, near.far_leg)):
        leg.follow(near.stasis.active_application(app or ""))
    shown = near.published
    if not call_other_side(near):
        call.fail()
    elif seconds is not None and call.is_waiting and not near.is_over:
        near.timer.set(seconds, call.fail)
    return shown

def create(near: Channel, app: str, app_args: str | None, originator: Channel | None, variables: dict[str, str]) -> Encoded:
    """Put the near leg of a new pair into `app` without calling the far one; the channel as it is before it enters."""
    application = near.stasis.active_application(app)
    near.follow(application)
    if originator:
        originator.follow(application)
    for name, value in variables.items():
        near.set_variable(name, value)
    shown = near.published
    run_stasis_only(near, stasis_data(app, app_args))
    return shown

def dial(near: Channel, caller: Channel | None, seconds: int) -> None:
    """Call the far leg of a created pair, 0 seconds: for ever; without effect where it was dialled, or has hung up, meanwhile."""
    if near.state != "Down" or near.is_dialled or near.is_over:
        return
    if caller:
        near.inherit_variables(caller)
        near.connected = caller.caller
        near.publish()
    if not call_other_side(near):
        near.end(NORMAL_CLEARING)
    elif seconds > 0 and near.state != "Up" and not near.is_over:
        near.timer.set(seconds, near.hang_up)

def snoop_on(target: Channel, snoop_id: str | None, spies: set[str], whispers: set[str], app: str,
             app_args: str | None) -> Encoded | None:
    """A new Snoop on `target` in `app`, as it is before it enters; None when the id is in use.

    Departure 11: where nobody is in `app`, it is gone at once."""
    stasis = target.stasis
    name = "Snoop/%s-%08x" % (target.id, next(stasis.snoop_serial))
    if snoop_id and stasis.find_channel(snoop_id):
        return None
    channel = Channel(stasis, snoop_id or stasis.unique_id(), name, "Up", Place("default", "s", 1))
    channel.snooping = Snooping(target, spies, whispers)
    target.snoops.append(channel)
    if target.bridge:
        target.bridge.rearrange(exchanges_lines=False)
    shown = channel.published
    run_stasis_only(channel, stasis_data(app, app_args))
    return shown

def external_media(stasis: Stasis, channel_id: str | None, host: str, line: RtpLine, app: str, variables: dict[str, str]) -> dict:
    """A UnicastRTP channel over `line`, answered at once and in `app`; its JSON with all its variables."""
    name = "UnicastRTP/%s-0x%012x" % (host, next(stasis.pair_serial))
    channel = Channel(stasis, channel_id or stasis.unique_id(), name, "Down", Place("default", "s", 1))
    channel.dialstring = host
    channel.voice = line.voice = ExternalMedia(channel, line)
    channel.set_variable("UNICASTRTP_LOCAL_ADDRESS", line.address)
    channel.set_variable("UNICASTRTP_LOCAL_PORT", "%d" % line.port)
    call = Outgoing(channel, app, None)
    for variable, value in variables.items():
        channel.set_variable(variable, value)
    shown = {**channel.published, "channelvars": dict(reversed(list(channel.variables.values())))}
    channel.follow(stasis.active_application(app))
    channel.announce_dial("")
    channel.state = "Up"
    channel.publish()
    channel.announce_dial("ANSWER")
    call.answered()
    stasis.audio_changed()
    return shown

def stasis_data(app: str, app_args: str | None) -> str:
    """The data of Stasis()."""
    return "%s,%s" % (app, app_args) if app_args else app

# --- 7.7 Bridges
MAX_BRIDGEPEER_MEMBERS = 11             # members that BRIDGEPEER takes account of (main/bridge.c)

class Music(Task):
    """Music on hold in a bridge, until it is stopped."""

    def begin(self) -> None:
        self.queue.stasis.audio_changed()

    def sends_audio(self) -> bool:
        return True

class Internal:
    """A channel inside a bridge that no application ever sees: an announcer, its music, a recorder.

    What it does are tasks like those of a stay, and it leaves when it has nothing left to do."""
    caller = ("", "")
    is_over = is_announcer = False

    def __init__(self, bridge: Bridge, prefix: str) -> None:
        self.bridge, self.name = bridge, "%s-%08x;2" % (prefix, next(bridge.stasis.pair_serial))
        self.queue = TaskQueue(bridge.stasis, self.leave)
        bridge.members.append(self)
        bridge.publish()
        bridge.rearrange(has_joined=True)

    def leave(self) -> None:
        """Leave the bridge unseen."""
        if self in self.bridge.members:
            self.bridge.members.remove(self)
            self.bridge.publish()
            self.bridge.rearrange()

class Bridge(Subject):
    """A bridge and its members in order, internal ones included.

    A smart (plain mixing) bridge is simple_bridge up to two members and softmix above; others keep their technology. A
    join or leave first publishes and tells, then changes the technology, then tells the members who their peers are, and
    publishes again. Internal channels count as members, but leave when no other is left."""
    kind = "bridge"
    __slots__ = ("name", "is_holding", "is_smart", "allows_native", "technology", "video_mode", "video_source", "members",
                 "announcer", "music")

    def __init__(self, stasis: Stasis, bridge_id: str, name: str, is_holding: bool, video_mode: str,
                 allows_native: bool = True) -> None:
        super().__init__(stasis, bridge_id)
        self.allows_native = allows_native              # two telephones may exchange their packets themselves
        self.name, self.is_holding, self.video_mode = name, is_holding, video_mode
        self.is_smart = not is_holding and video_mode != "sfu"
        self.technology = "holding_bridge" if is_holding else "simple_bridge" if self.is_smart else "softmix"
        self.video_source, self.members = "", []
        self.announcer = self.music = None              # the Internals that play to the bridge, or did
        stasis.bridges[bridge_id] = self
        self.publish()
        self.emit("BridgeCreated", bridge=self.published)

    def channels(self) -> list[Channel]:
        return [member for member in self.members if isinstance(member, Channel)]

    def internals(self) -> list[Internal]:
        return [member for member in self.members if isinstance(member, Internal)]

    def publish(self) -> None:
        """Renew what GET and events show; a changed video source is told."""
        value = {
            "id": self.id, "technology": self.technology, "bridge_type": "holding" if self.is_holding else "mixing",
            "bridge_class": "stasis", "creator": "Stasis", "name": self.name,
            "channels": sorted((channel.id for channel in self.channels()), key=str.encode),
            "creationtime": self.created, "video_mode": self.video_mode}
        if self.video_source:
            value["video_source_id"] = self.video_source
        before = self.published.get("video_source_id", "") if self.published else ""
        self.published = Encoded(value)
        if before != self.video_source:
            old = {"old_video_source_id": before} if before else {}
            self.emit("BridgeVideoSourceChanged", bridge=self.published, **old)

    def emit_media(self, event_type: str, **members) -> None:
        """Asterisk: the internal channel takes these also to whoever follows all channels (stasis_app_control_publish)."""
        self.emit(event_type, **members)
        self.stasis.emit(self.stasis.followers_of_all("channel"), event_type, **members)

    def set_video_source(self, channel: Channel) -> None:
        self.video_mode, self.video_source = "single", channel.id
        self.publish()

    def clear_video_source(self) -> None:
        """Back to the talker; Asterisk: not published before something else is (bridge_set_talker_src_video_mode)."""
        self.video_mode, self.video_source = "talker", ""

    def add(self, channel: Channel, absorbs_dtmf: bool = False, is_announcer: bool = False) -> None:
        """Let a channel join at the tail; it leaves the bridge it is in first, and its application follows this one."""
        if channel.other_leg in self.members:
            return                                      # both legs of a pair never share a bridge; departure 11: DELETE ends it
        channel.leave_bridge()
        self.follow(channel.application)                # once as the application of a member (res_stasis.c),
        self.follow(channel.application)                # and once for the stay in the bridge (control.c)
        channel.bridge, channel.absorbs_dtmf, channel.is_announcer = self, absorbs_dtmf, is_announcer
        self.members.append(channel)
        self.publish()
        channel.publish()
        self.emit("ChannelEnteredBridge", bridge=self.published, channel=channel.published)
        self.rearrange(has_joined=True)

    def remove(self, channel: Channel, leaves_app: bool = False, is_last: bool = False) -> None:
        """Let a channel leave; `is_last` when the bridge itself ends."""
        if channel.own_variable("BRIDGEPEER"):
            channel.set_variable("BRIDGEPEER", None)
        channel.set_peer_call_id(None)
        channel.bridge, channel.absorbs_dtmf, channel.is_announcer = None, False, False
        channel.set_cause_of_leaving()
        self.members.remove(channel)
        self.publish()
        channel.publish()
        self.emit("ChannelLeftBridge", bridge=self.published, channel=channel.published)
        if not self.channels():
            self.end_internals()
        self.unfollow(channel.application)
        if not leaves_app:              # Asterisk: who leaves the application as well forgets the other interest (res_stasis.c)
            self.unfollow(channel.application)
        if not is_last:
            self.rearrange()
        if self.video_source == channel.id:
            self.video_source = ""                      # Asterisk: told when next published (ast_bridge_remove_video_src)

    def end_internals(self) -> None:
        """Internal channels do not stay among themselves: what they do fails, and they leave."""
        for internal in self.internals():
            internal.queue.fail()

    def rearrange(self, has_joined: bool = False, exchanges_lines: bool = True) -> None:
        """What follows a join or leave: a smart bridge chooses its technology by its members, then as settle().

        Asterisk: the last to join is the first in a technology that changes by that (smart_bridge_operation)."""
        before = self.technology
        if self.is_smart:
            self.technology = "softmix" if len(self.members) > 2 else "native_rtp" if self.is_native() else "simple_bridge"
        if has_joined and before != self.technology:
            self.members.insert(0, self.members.pop())
        changes_native = "native_rtp" in (before, self.technology) and before != self.technology and len(self.members) > 1
        for _ in range(2 if changes_native else 0):     # once more for each telephone whose packets go another way
            self.update_peers(exchanges_lines=False)
        self.settle(exchanges_lines)

    def is_native(self) -> bool:
        """True for two telephones with which nobody else has to do (bridge_native_rtp.c)."""
        return self.allows_native and len(self.members) == 2 and all(
            isinstance(member, Channel) and member.phone and member.phone.is_heard() and not (member.muted or member.snoops)
            for member in self.members)

    def settle(self, exchanges_lines: bool = False) -> None:
        """What follows every change (bridge_reconfigured): peers are told, the bridge is published, audio may flow anew."""
        self.update_peers(exchanges_lines)
        self.publish()
        self.stasis.audio_changed()

    def update_peers(self, exchanges_lines: bool) -> None:
        """Set BRIDGEPEER of every member to the names of the others, and connected lines between exactly two."""
        peers = self.members[:MAX_BRIDGEPEER_MEMBERS]
        if self.is_holding or len(peers) < 2:
            return
        exchanges_lines = exchanges_lines and len(peers) == 2 and self.technology != "softmix" and not any(
            member.is_over for member in peers)
        for member in peers:
            if isinstance(member, Channel):
                others = [other for other in peers if other is not member]
                member.set_variable("BRIDGEPEER", ",".join(other.name for other in others))
                member.set_peer_call_id(others[0] if len(others) == 1 else None)
                if exchanges_lines:
                    self.tell_connected_line(member, others[0].caller)

    def tell_connected_line(self, channel: Channel, party: tuple[str, str]) -> None:
        """Make `party` the connected line. When that is news, the other leg of the pair gets it as its caller, unpublished."""
        if channel.connected != party:
            channel.connected = party
            channel.publish()
        if channel.told_connected != party:
            channel.told_connected = party
            if channel.other_leg:
                channel.other_leg.caller = party

    def sends_audio(self) -> bool:
        """True while members are written frames whoever else sends: a softmix always writes, and internal channels may."""
        if self.is_holding:
            return False
        return self.technology == "softmix" or any(internal.queue.sends_audio() for internal in self.internals())

    def hears_audio(self) -> bool:
        """True while a recorder is written frames: always in a softmix, else when a member hears some."""
        return self.technology == "softmix" or any(channel.hears_audio() for channel in self.channels())

    def can_hear_playback(self) -> bool:
        """False while a holding bridge has an announcer of its own: there is room for one (bridge_holding.c)."""
        return not (self.is_holding and any(member.is_announcer for member in self.members))

    def join_announcer(self) -> Internal:
        """The announcer, who joins when there is none, and leaves when its queue is empty."""
        if self.announcer not in self.members:
            self.announcer = Internal(self, "Announcer/ARI")
        return self.announcer

    def start_music(self) -> None:
        if self.music not in self.members and self.can_hear_playback():
            self.music = Internal(self, "Announcer/ARI_MOH")
            self.music.queue.add(Music())

    def stop_music(self) -> None:
        """End what is being played; who played it has nothing left to do, and leaves."""
        self.music.queue.fail()

    def end(self) -> None:
        """Everybody leaves, then BridgeDestroyed to who still follows, as the bridge was published last."""
        for channel in self.channels():
            self.remove(channel, is_last=True)
        self.end_internals()
        del self.stasis.bridges[self.id]
        self.emit("BridgeDestroyed", bridge=self.published)
        self.followers.clear()

# --- 7.8 Sounds and files
class Format(NamedTuple):
    """A format of sound files: the codec that /sounds names, and, where a file's size tells its length, bytes per second.

    `silence` is the byte that silence is made of; None for what cannot be made, which stays an empty file."""
    codec: str
    rate: int = 0
    silence: int | None = None

FORMATS = {                             # by the suffix of the file; which can be recorded too
    **dict.fromkeys(("wav", "sln", "raw"), Format("slin", 16000, 0)), "wav16": Format("slin16", 32000, 0),
    "sln12": Format("slin12", 24000, 0), "sln16": Format("slin16", 32000, 0), "sln24": Format("slin24", 48000, 0),
    "sln32": Format("slin32", 64000, 0), "sln44": Format("slin44", 88200, 0), "sln48": Format("slin48", 96000, 0),
    "sln96": Format("slin96", 192000, 0), "sln192": Format("slin192", 384000, 0),
    **dict.fromkeys(("ulaw", "ul", "mu", "ulw", "pcm"), Format("ulaw", 8000, 0xFF)), "au": Format("ulaw", 8000),
    **dict.fromkeys(("alaw", "al", "alw"), Format("alaw", 8000, 0xD5)), "gsm": Format("gsm", 1650),
    **dict.fromkeys(("wav49", "WAV"), Format("gsm")), "vox": Format("adpcm"),
    **{name: Format(name) for name in ("g722 g719 g723 g723sf g729 ilbc siren7 siren14 g726-16 g726-24 g726-32 g726-40 h263 "
                                       "h264").split()}}
CODECS = frozenset((                    # names that `formats` may hold
    "ulaw alaw gsm g722 g719 g723 g729 g726 g726aal2 adpcm slin slin12 slin16 slin24 slin32 slin44 slin48 slin96 slin192 "
    "lpc10 speex speex16 speex32 ilbc opus siren7 siren14 testlaw silk8 silk12 silk16 silk24 codec2 "
    "none jpeg png h261 h263 h263p h264 h265 mpeg4 vp8 vp9 red t140 t38").split())
WAV_HEAD = struct.Struct("<4sI4s4sIHHIIHH4sI")
MAX_WAV_CHUNKS = 100
MAX_FILE_BYTES = 2**32 - 1 - WAV_HEAD.size              # of audio in a file: what the head of a wav can say
PIECE_BYTES = 65536                     # of a file that is read or written at a time
COPIED_BYTES = 2**22                    # of a file that is copied between two looks whether somebody else waits
STORED_AS = {"wav49": "WAV"}            # the suffix of a format's files where it is another word
UNKNOWN_LENGTH_MS = 1000.0              # of a sound whose file does not tell, and of every sound where there are no files

def file_length_ms(suffix: str, size: int) -> float:
    """How long a file plays, by its size; one second where that does not tell."""
    rate = FORMATS[suffix].rate
    return max(0, size - len(file_head(suffix, 0))) * 1000 / rate if rate else UNKNOWN_LENGTH_MS

def audio_bytes(suffix: str, milliseconds: float) -> int:
    """How many bytes of a file are so much silence; none of formats that cannot be made."""
    _, rate, silence = FORMATS[suffix]
    return 0 if silence is None else int(milliseconds * rate / 1000) // 2 * 2

def longest_ms(suffix: str) -> float:
    """How long a recording can be."""
    return MAX_FILE_BYTES * 1000 / FORMATS[suffix].rate if FORMATS[suffix].rate else math.inf

def file_head(suffix: str, size: int, is_open: bool = False) -> bytes:
    """What stands before so many bytes of audio. `is_open`: as while they are being written."""
    if not suffix.startswith("wav"):
        return b""
    rate = FORMATS[suffix].rate
    return WAV_HEAD.pack(b"RIFF", 0 if is_open else WAV_HEAD.size - 8 + size, b"WAVE", b"fmt ", 16, 1, 1, rate // 2, rate, 2, 16,
                         b"data", size)

def wav_sound(file) -> int:
    """Where the sound of a wav begins, behind whatever chunks stand before it; 0 where there is none."""
    file.seek(12)
    for _ in range(MAX_WAV_CHUNKS):
        name, size = file.read(4), int.from_bytes(file.read(4), "little")
        if name == b"data":
            return file.tell()
        file.seek(size, os.SEEK_CUR)
    return 0

def silence(suffix: str, size: int) -> Iterator[bytes]:
    """So many bytes of silence, in pieces."""
    piece = bytes([FORMATS[suffix].silence or 0]) * min(size, PIECE_BYTES)
    for _ in range(size // PIECE_BYTES):
        yield piece
    yield piece[:size % PIECE_BYTES]

def sound_files(folder: str) -> Iterator[tuple[str, str, float]]:
    """Yield (name, suffix, length in ms) of the files of sound below a folder."""
    for path, _, files in os.walk(folder):
        for file in sorted(files):
            whole = os.path.join(path, file)
            name, _, suffix = os.path.relpath(whole, folder).rpartition(".")
            if os.path.basename(name) and suffix in FORMATS and is_utf8(name) and os.path.isfile(whole):
                yield name, suffix, file_length_ms(suffix, os.path.getsize(whole))

# What a telephone says, and what packets carry: frames of 20 ms. ulaw is what all others are made from and brought to.
FRAME_SECONDS, FRAME_BYTES, ULAW_RATE = 0.02, 160, 8000
KEPT_FRAMES = 1500                      # 30 s
MAX_SPOKEN_BYTES = 2**24                # of a file
KEPT_SOUNDS = 16                        # that were said last
ULAW = [(1 if byte & 0x80 else -1) * (((~byte & 0x0F) * 8 + 0x84 << ((~byte & 0x70) >> 4)) - 0x84) for byte in range(256)]
ALAW = [(1 if byte & 0x80 else -1) * (((byte ^ 0x55) & 0x0F) * 16 + (0x108 if (byte ^ 0x55) & 0x70 else 8)
                                      << max(0, ((byte ^ 0x55) & 0x70) - 0x10 >> 4)) for byte in range(256)]     # ITU-T G.711
ULAW_SILENCE = b"\xff" * FRAME_BYTES

class Recent:
    """The newest frames: so many bytes of them, and so many."""

    def __init__(self, limit: int = KEPT_FRAMES * FRAME_BYTES) -> None:
        self.frames: collections.deque[bytes] = collections.deque()
        self.limit, self.size = limit, 0

    def add(self, frame: bytes) -> None:
        self.frames.append(frame)
        self.size += len(frame)
        while self.size > self.limit or len(self.frames) > KEPT_FRAMES:
            self.take()

    def take(self) -> bytes:
        """The oldest one."""
        frame = self.frames.popleft()
        self.size -= len(frame)
        return frame

class Codec(NamedTuple):
    """How frames are carried: payload type, samples a second, silence ("" where that cannot be made), and how they are made from
    ulaw and brought to it, where they can be."""
    payload_type: int
    rate: int
    silence: bytes
    from_ulaw: Callable[[bytes], bytes] | None = None
    to_ulaw: Callable[[bytes], bytes] | None = None

def nearest(table: list[int]) -> Callable[[int], int]:
    """A function: the byte whose sample in a table is the nearest."""
    ordered = sorted((sample, byte) for byte, sample in enumerate(table))
    def byte_of(sample: int) -> int:
        at = bisect.bisect(ordered, (sample, 256))
        return min(ordered[max(0, at - 1):at + 1], key=lambda item: (abs(item[0] - sample), -item[0]))[1]
    return byte_of

@functools.lru_cache(maxsize=1)
def ulaw_of_linear() -> bytes:
    """The byte of ulaw for each sample of 16 bits, of which the last two do not count: by the others as without sign."""
    byte_of = nearest(ULAW)
    return bytes(byte_of(wrap_integer(sample << 2, 16)) for sample in range(1 << 14))

def linear_codec(payload_type: int, rate: int, order: str = ">") -> Codec:
    """Samples of 16 bits, as RTP carries them: the high byte first."""
    size = rate // 50
    shown = [struct.pack(order + "h", sample) for sample in ULAW]
    into, back = [at * FRAME_BYTES // size for at in range(size)], [-(-at * size // FRAME_BYTES) for at in range(FRAME_BYTES)]
    def to_ulaw(payload: bytes) -> bytes:
        samples, table = struct.unpack("%s%dh" % (order, size), payload[:2 * size].ljust(2 * size, b"\0")), ulaw_of_linear()
        return bytes([table[samples[at] >> 2 & 0x3FFF] for at in back])
    return Codec(payload_type, rate, bytes(2 * size), lambda payload: b"".join([shown[payload[at]] for at in into]), to_ulaw)

def byte_codec(payload_type: int, table: list[int]) -> Codec:
    """One byte a sample."""
    from_ulaw, to_ulaw = bytes(map(nearest(table), ULAW)), bytes(map(nearest(ULAW), table))
    return Codec(payload_type, ULAW_RATE, ULAW_SILENCE.translate(from_ulaw), lambda payload: payload.translate(from_ulaw),
                 lambda payload: payload.translate(to_ulaw))

ULAW_CODEC = Codec(0, ULAW_RATE, ULAW_SILENCE, bytes, bytes)
GSM_SILENCE = bytes.fromhex("d820a2e15a" + 4 * "50004924924924")
PASSED_ON = {                           # payload type, samples a second
    "gsm": (3, 8000), "g723": (4, 8000), "adpcm": (5, 8000), "lpc10": (7, 8000), "g722": (9, 8000), "g729": (18, 8000),
    "ilbc": (97, 8000), "siren7": (102, 16000), "opus": (107, 48000), "speex": (110, 8000), "g726": (111, 8000),
    "g726aal2": (112, 8000), "siren14": (115, 32000), "g719": (116, 48000), "speex16": (117, 16000), "speex32": (119, 32000)}
LINEAR_TYPES = {12: 122, 16: 118, 24: 123, 32: 124, 44: 125, 48: 126, 96: 127, 192: 96}
RATES = {"slin": 8000, **{"slin%d" % rate: 44100 if rate == 44 else 1000 * rate for rate in LINEAR_TYPES}}

@functools.lru_cache(maxsize=None)
def rtp_codec(name: str) -> Codec:
    """How a format is carried by RTP (rtp_engine.c, chan_rtp.c). Not Asterisk: but ulaw, alaw and linear it is only passed on.

    Asterisk: slin has no payload type of its own there, and is sent as ulaw (derive_format_from_cap)."""
    if name in ("ulaw", "slin"):
        return ULAW_CODEC
    if name == "alaw":
        return byte_codec(8, ALAW)
    if name in RATES:
        return linear_codec(LINEAR_TYPES[int(name[4:])], RATES[name])
    return Codec(*PASSED_ON.get(name, (0, ULAW_RATE)), GSM_SILENCE if name == "gsm" else b"")

CODECS_SPOKEN = {"ulaw", "alaw", *RATES}
LOUDNESS = bytes([abs(sample) // 128 for sample in ULAW])
LOUD = FRAME_BYTES * 256 // 128         # of a frame in which somebody talks (DEFAULT_SILENCE_THRESHOLD, dsp.c)
TONE = bytes(map(nearest(ULAW), [int(8000 * math.sin(math.pi * at / 10)) for at in range(FRAME_BYTES)]))       # 400 Hz

def speech(path: str, suffix: str) -> tuple[bytes, ...]:
    """The frames of a file of sound, in ulaw; OSError where it cannot be read. They are shared by whoever says it."""
    return speech_of(path, suffix, os.stat(path).st_mtime_ns)

@functools.lru_cache(maxsize=KEPT_SOUNDS)
def speech_of(path: str, suffix: str, changed: int) -> tuple[bytes, ...]:
    codec = FORMATS[suffix].codec
    codec = linear_codec(0, RATES[codec], "<") if codec in RATES else rtp_codec(codec)
    data, size = read_file(path, MAX_SPOKEN_BYTES)[len(file_head(suffix, 0)):], len(codec.silence)
    return tuple(codec.to_ulaw(data[at:at + size].ljust(size, codec.silence[:1])) for at in range(0, len(data), size))

class Sounds:
    """The sounds that exist: {language: {name: {suffix: length in ms}}} and their descriptions; None: every sound does."""

    def __init__(self, lengths: dict | None = None, texts: dict[str, str] | None = None, folder: str = "") -> None:
        self.lengths, self.texts, self.folder = lengths, texts or {}, folder

    def file(self, name: str, language: str) -> tuple[str, str] | None:
        """(path, suffix) of a file of it that speech() reads."""
        for known in (language, language.partition("_")[0], "en"):
            for suffix in (self.lengths or {}).get(known, {}).get(name, ()):
                if FORMATS[suffix].codec in CODECS_SPOKEN:
                    return os.path.join(self.folder, known, "%s.%s" % (name, suffix)), suffix
        return None

    def length_ms(self, name: str, language: str) -> float | None:
        """How long a sound plays, in its language, that language's family, or English; None where it does not exist."""
        if self.lengths is None:
            return UNKNOWN_LENGTH_MS if name else None
        for known in (language, language.partition("_")[0], "en"):
            files = self.lengths.get(known, {}).get(name)
            if files:
                return next(iter(files.values()))
        return None

    def listed(self) -> Iterator[tuple[str, str, str]]:
        """Yield (name, language, codec) of every file."""
        for language, names in (self.lengths or {}).items():
            for name, files in names.items():
                for suffix in files:
                    yield name, language, FORMATS[suffix].codec

def read_sounds(folder: str) -> Sounds:
    """The sounds below DIR/LANGUAGE/NAME.SUFFIX, with the descriptions of DIR/en/*-sounds-en.txt."""
    lengths: dict = {}
    texts = {}
    for language in sorted(os.listdir(folder)):
        for name, suffix, length in sound_files(os.path.join(folder, language)):
            lengths.setdefault(language, {}).setdefault(name, {})[suffix] = length
    for path in glob.glob(os.path.join(glob.escape(folder), "en", "*-sounds-en.txt")):
        lines = [line.partition(":") for line in decode(read_file(path)).splitlines() if not line.startswith(";")]
        texts.update((name.strip(), text.strip()) for name, colon, text in lines if colon and is_utf8(text))
    return Sounds(lengths, texts, folder)

class Recordings:
    """Stored recordings by the names of their files: {name: {suffix: length in ms}}.

    What is to be done with the files is noted in `work`, in order, for whoever has them: (method of RecordingFiles, arguments)."""

    def __init__(self, lengths: dict[str, dict[str, float]] | None = None) -> None:
        self.lengths = lengths or {}
        self.being_written: set[str] = set()
        self.changes = collections.Counter()            # how often the list has changed for a name; its files follow later
        self.work: list[tuple] = []

    def get(self, name: str) -> tuple[str, float] | None:
        """(suffix, length in ms) of a recording; None where there is none."""
        files = self.lengths.get(file_name(name))
        return next(iter(files.items())) if files else None

    def begin(self, name: str, recording_format: str, appends: bool) -> float:
        """Make the file, empty unless it is to be added to; its length in ms."""
        name, suffix = file_name(name), STORED_AS.get(recording_format, recording_format)
        length = self.lengths.get(name, {}).get(suffix, 0.0) if appends else 0.0
        self.lengths.setdefault(name, {})[suffix] = length
        self.being_written.add(name)
        self.changes[name] += 1
        self.work.append(("begin", name, suffix, length > 0))
        return length

    def end(self, name: str, recording_format: str, length_ms: float) -> None:
        """Close the file at its length, unless it has been deleted meanwhile."""
        name, suffix = file_name(name), STORED_AS.get(recording_format, recording_format)
        self.being_written.discard(name)
        if suffix in self.lengths.get(name, {}):
            self.lengths[name][suffix] = length_ms
            self.work.append(("end", name, suffix, audio_bytes(suffix, length_ms)))

    def delete(self, name: str) -> None:
        """Remove the files of a recording."""
        self.work.append(("remove", file_name(name), *self.forget(name)))

    def relist(self, name: str, left: dict[str, float], changes: int) -> bool:
        """List what is left on the disk; False when the list has changed since, as then other work with its files is to come."""
        if self.changes[name] != changes:
            return False
        before = self.lengths.pop(name, {})
        if left:                        # what is being written has yet to get its length
            kept = before if name in self.being_written else {}
            self.lengths[name] = {suffix: kept.get(suffix, length) for suffix, length in left.items()}
        return True

    def forget(self, name: str) -> dict[str, float]:
        """Take a recording off the list; {suffix: length in ms} of its files."""
        self.being_written.discard(file_name(name))
        self.changes[file_name(name)] += 1
        if len(self.changes) > MAX_KEPT:                # names that are gone; whoever waits for one of them looks once more
            self.changes = collections.Counter({known: self.changes[known] for known in self.lengths})
        return self.lengths.pop(file_name(name), {})

    def copy(self, name: str, suffix: str, copied: str) -> None:
        """List a file under another name, too."""
        self.changes[copied] += 1
        self.lengths.setdefault(copied, {})[suffix] = self.lengths[name][suffix]

def file_name(name: str) -> str:
    """The one spelling of a recording's name, "" for one that leads out of the folder of recordings: one name, one file."""
    normal = os.path.normpath(name.lstrip("/"))
    return "" if normal.partition("/")[0] in ("..", ".") else normal

# --- 7.9 Media and digits
DIGITS = frozenset("0123456789*#ABCDabcd")
DIGIT_PAUSES_MS = {"w": 500, "W": 1000}         # main/app.c, dtmf_stream
QUIET_MS = 100                          # before the first digit
MIN_DIGIT_MS = 100                      # the shortest digit (AST_DEFAULT_EMULATE_DTMF_DURATION), and the gap that 0 asks for
MAX_PRESSED = 1000                      # digits that a telephone presses at a time, as they are all heard at once
TALK_SILENCE_MS = 2500                  # of TALK_DETECT without a number (func_talkdetect.c)
DEFAULT_SKIP_MS = 3000                  # of forward and reverse
KEPT_SILENCE_MS = 200                   # of the silence at the end of a recording (main/app.c)
NO_AUDIO_SECONDS = 4                    # a recording that hears no frame for so long ends (main/app.c)
PLAYBACK_OPERATIONS = ("restart", "pause", "unpause", "reverse", "forward")
PLAYBACK_CONTROL = {                    # state: what each operation does, in that order; "." nothing, "-" it is refused
    "queued":     ". - - - -",
    "playing":    "x x . x x",
    "continuing": "x x . x x",
    "paused":     "- . x - -",
    "done":       "- - - - -",          # stopped while it was queued
}
SUCCEEDS, FAILS, UNTOLD = "succeeds", "fails", "untold"         # how a medium can end; UNTOLD: without a word
TONES = frozenset("busy congestion dial dialrecall info record ring stutter callwaiting unobtainable".split())
# Asterisk: these languages have a grammar of their own, which passes over a digit without sound; else saying it fails (say.c).
NUMBER_GRAMMARS = frozenset("cs cz da de es fr ge gr he hu is it ja ka mx nl no pl pt ru se th tw ur vi zh".split())

class Digits(Task):
    """Digits sent to a channel one after the other; each is heard on the other leg at its end (main/app.c, dtmf_stream).

    Not Asterisk: they end with their channel; there its end waits for them."""

    def __init__(self, channel: Channel, digits: str, before_ms: int, between_ms: int, duration_ms: int, after_ms: int) -> None:
        self.channel, self.timer = channel, Timer(channel.stasis)
        self.duration_ms = max(duration_ms, MIN_DIGIT_MS)
        self.steps = self.timeline(digits, max(0, before_ms), max(0, between_ms or MIN_DIGIT_MS), max(0, after_ms))

    def timeline(self, digits: str, before_ms: int, between_ms: int, after_ms: int) -> Iterator[tuple[int, str]]:
        """Yield (ms, digit): what is waited for, and the digit that has been sent then, if any; other characters are skipped."""
        yield before_ms + QUIET_MS, ""
        for character in digits:
            if character in DIGIT_PAUSES_MS:
                yield DIGIT_PAUSES_MS[character], ""
            elif character in "fF":     # a hook flash, which Local channels do not show
                yield between_ms, ""
            elif character in DIGITS:
                yield self.duration_ms, character
                yield between_ms, ""
        yield after_ms, ""

    def begin(self) -> None:
        self.channel.progress()
        self.go_on("")

    def go_on(self, sent: str) -> None:
        """A digit, or a pause, is over: tell it, and wait for the next."""
        if sent and self.channel.other_leg:
            self.channel.other_leg.hear_digit(sent, self.duration_ms)
        if not self.is_current():                       # a recording that the digit ended let something hang up
            return
        milliseconds, digit = next(self.steps, (None, ""))
        if milliseconds is None:
            self.forget()
        else:
            self.timer.set(milliseconds / 1000, lambda: self.go_on(digit))

class Sound(NamedTuple):
    """What playing a medium comes to: how it ends, and how long it takes (None: without end)."""
    outcome: str
    milliseconds: float | None = 0
    is_controllable: bool = True

def sound_of(stasis: Stasis, uri: str, language: str) -> Sound:
    """What playing `uri` comes to (res_stasis_playback.c, play_uri)."""
    scheme, _, name = uri.partition(":")
    if scheme == "sound":
        length = stasis.sounds.length_ms(name, language)
        if length is None:
            stasis.hint("sound:%s is not there in the language %s, so that playing it fails" % (name, language))
        return Sound(FAILS) if length is None else Sound(SUCCEEDS, length)
    if scheme == "recording":
        _, length = stasis.recordings.get(name) or ("", None)
        return Sound(UNTOLD) if length is None else Sound(SUCCEEDS if length else FAILS, length)
    if scheme == "number":
        match = C_INTEGER.match(name)
        has_grammar = language[:2].lower() in NUMBER_GRAMMARS or language.lower().startswith("en_gb")
        return spelled(stasis, match.group(1), language, not has_grammar) if match else Sound(UNTOLD)
    if scheme in ("digits", "characters"):
        return spelled(stasis, name, language, False)
    if scheme == "tone":
        return Sound(SUCCEEDS, None) if name.partition(";")[0] in TONES else Sound(FAILS)
    return Sound(UNTOLD)

def spelled(stasis: Stasis, text: str, language: str, needs_all: bool) -> Sound:
    """Characters played one by one. Not Asterisk: a number is read digit by digit, too."""
    lengths = [stasis.sounds.length_ms("digits/" + character, language) for character in text]
    if needs_all and None in lengths:
        return Sound(FAILS)
    return Sound(SUCCEEDS, sum(length or 0 for length in lengths), is_controllable=False)

class Playback(Task):
    """Media played in turn to a channel or bridge (res_stasis_playback.c).

        queued -> playing -> (continuing -> playing)* -> done | failed      playing <-> paused      queued -> done, by a stop

    Entering playing is told (also after a pause), and continuing, done and failed."""

    def __init__(self, target: Channel | Bridge, playback_id: str | None, media: list[str], language: str, offset_ms: int,
                 skip_ms: int) -> None:
        self.stasis, self.target, self.timer = target.stasis, target, Timer(target.stasis)
        self.id = playback_id or self.stasis.new_id()
        self.media, self.index, self.language = list(media), 0, language
        self.offset_ms, self.skip_ms = offset_ms, skip_ms or DEFAULT_SKIP_MS
        self.state, self.sound = "queued", Sound(SUCCEEDS)              # the sound of the present medium, once it plays
        self.started, self.position_ms = 0.0, 0.0       # playing since, from where
        self.stasis.playbacks.setdefault(self.id, []).append(self)

    def to_json(self) -> dict:
        value = {"id": self.id, "media_uri": self.media[self.index]}
        if self.index + 1 < len(self.media):
            value["next_media_uri"] = self.media[self.index + 1]
        return {**value, "target_uri": self.target.uri, "language": self.language, "state": self.state}

    def to_show(self) -> dict:
        """Besides, how much of the medium has been played, and how much there is, in seconds; None without end."""
        length, runs = self.sound.milliseconds, self.state in ("playing", "paused")
        return {**self.to_json(), "seconds": round(self.position() / 1000, 1) if runs else 0,
                "duration": None if length is None else length / 1000}

    def tell(self, event_type: str) -> None:
        self.target.emit_media(event_type, playback=self.to_json())

    def sends_audio(self) -> bool:
        return self.state == "playing"

    def begin(self) -> None:
        """A playback that was stopped before its turn only says that it is done."""
        if self.state == "done":
            self.end("done")
        else:
            self.target.progress()
            self.play_from(self.offset_ms)

    def play_from(self, position_ms: float) -> None:
        """Play the present medium; those that take no time are over at once, and the next one follows."""
        while True:
            self.state = "playing"
            self.tell("PlaybackStarted")
            can_play = self.target.can_hear_playback()
            self.sound = sound_of(self.stasis, self.media[self.index], self.language) if can_play else Sound(FAILS)
            if self.sound.milliseconds != 0:
                self.run_from(position_ms)
                self.stasis.audio_changed()
                return
            if not self.next_medium(self.sound.outcome):
                return
            position_ms = 0

    def next_medium(self, outcome: str) -> bool:
        """After a medium: True when another one is to be played."""
        if self.index + 1 == len(self.media):
            if outcome == UNTOLD:
                self.forget()
            else:
                self.end("done" if outcome == SUCCEEDS else "failed")
            return False
        if outcome != UNTOLD:
            self.state = "continuing"
            self.tell("PlaybackContinuing")
        self.index += 1
        return True

    def run_from(self, position_ms: float) -> None:
        """Let the medium run from a position; its end is due when the rest has been played."""
        self.started, self.position_ms = self.stasis.now, position_ms
        self.timer.cancel()
        if self.sound.milliseconds is not None:
            self.timer.set(max(0, self.sound.milliseconds - position_ms) / 1000, self.medium_is_over)

    def medium_is_over(self) -> None:
        if self.next_medium(SUCCEEDS):
            self.play_from(0)

    def position(self) -> float:
        """How much of the medium has been played, in ms."""
        return self.position_ms + (0 if self.state == "paused" else (self.stasis.now - self.started) * 1000)

    def control(self, command: str) -> None:
        """restart, pause, unpause, reverse or forward; 409 where the state does not allow it."""
        does = PLAYBACK_CONTROL[self.state].split()[PLAYBACK_OPERATIONS.index(command)]
        require(does != "-", 409, "Can only %s while media is playing" % command)
        require(self.sound.is_controllable, 500, "Could not %s playback" % command)
        if does == ".":
            return
        position, length = self.position(), self.sound.milliseconds
        if command == "pause":
            self.position_ms, self.state = position, "paused"
            self.timer.cancel()
        elif command == "unpause":
            self.state = "playing"
            self.tell("PlaybackStarted")
            self.run_from(position)
        else:
            ahead = position + self.skip_ms             # forward: never over the end
            is_over = length is not None and ahead >= length
            self.run_from({"restart": 0.0, "reverse": max(0.0, position - self.skip_ms),
                           "forward": max(0.0, length - self.skip_ms) if is_over else ahead}[command])
        self.stasis.audio_changed()

    def stop(self) -> None:
        """End now; one that still waits is done, which it says in its turn."""
        if self.state in ("queued", "done"):
            self.state = "done"
            return
        require(self.sound.is_controllable, 500, "Could not stop playback")
        if self.sound.milliseconds is None:
            self.medium_is_over()                       # Asterisk: a tone that is stopped counts as played (play_on_channel)
        else:
            self.end("done")

    def fail(self) -> None:
        """Whatever waits starts and fails; one that was stopped is done all the same."""
        if self.state == "queued":
            self.state = "playing"
            self.tell("PlaybackStarted")
        self.end("done" if self.state == "done" else "failed")

    def end(self, state: str) -> None:
        self.state = state
        self.tell("PlaybackFinished")
        self.forget()

    def forget(self) -> None:
        others = [playback for playback in self.stasis.playbacks.pop(self.id, []) if playback is not self]
        if others:
            self.stasis.playbacks[self.id] = others
        super().forget()
        if isinstance(self.target, Channel) and self.target.bridge and self.target.bridge.technology == "native_rtp":
            self.target.bridge.settle()                 # its packets went through here meanwhile
        self.stasis.audio_changed()

class LiveRecording(Task):
    """A recording that waits or runs (res_stasis_recording.c, main/app.c).

        queued -> recording <-> paused -> done      queued -> failed, in a bridge      queued -> canceled -> recording

    What it hears is reckoned, not listened to, and all of it is silence. While audio arrives for 2.5 s, a pause of 1 s, and 1.5 s:

        it is           |       recording       | paused  |   recording   |
        heard_ms        |-------------------------------------------------|  5000: all frames that came
        written_ms      |-----------------------|         |---------------|  4000: in the file, with what was there before
        paused_ms       |---------------------------------|                  3500: heard when a pause ended last
        silence_ms()                                      |---------------|  1500: how long the silence at the end counts for"""
    is_recording = True

    def __init__(self, target: Channel | Bridge, name: str, recording_format: str, max_seconds: int,
                 max_silence_seconds: int, if_exists: str, terminate_on: str, beeps: bool) -> None:
        self.stasis, self.target, self.timer = target.stasis, target, Timer(target.stasis)
        self.name, self.format, self.beeps, self.if_exists, self.terminate_on = (
            name, recording_format, beeps, if_exists, terminate_on)
        self.max_seconds, self.max_silence_seconds = max_seconds, max_silence_seconds
        self.state = "queued"
        self.is_beeping = self.is_started = False       # it listens once it is started, behind the beep
        self.deletes = self.was_muted = False           # it is cancelled; it was muted, ever
        self.written_ms = 0.0                           # in the file, with what was there before
        self.heard_ms = 0.0                             # since it began
        self.paused_ms = 0.0                            # heard when a pause ended last
        self.hears_since: float | None = None           # None while nobody sends
        self.last_frame = 0.0
        self.limit = self.pause_began = 0               # whole seconds of the clock; no limit: 0
        self.stasis.live_recordings[file_name(name)] = self

    def to_json(self, **more) -> dict:
        return {"name": self.name, "format": self.format, "state": self.state, "target_uri": self.target.uri, **more}

    def to_show(self) -> dict:
        """Besides, how much has been recorded, and how much will be at most, in seconds; None without a limit."""
        self.reckon()
        return self.to_json(seconds=round(self.written_ms / 1000, 1), duration=self.max_seconds or None)

    def tell(self, event_type: str, **more) -> None:
        self.target.emit_media(event_type, recording=self.to_json(**more))

    def begin(self) -> None:
        """Answer the channel, make the file, and listen."""
        if isinstance(self.target, Channel):
            if self.target.bridge or self.target.is_in_dial_bridge:
                self.end_failed("Cannot record channel while in bridge")
                return
            self.target.answer()
            if not self.is_current():                   # the answer was the end of the call
                return
        self.start()

    def start(self) -> None:
        """Make the file and say so, then beep; over at once where the beep is missing. What comes during the beep is lost."""
        self.written_ms = self.stasis.recordings.begin(self.name, self.format, self.if_exists == "append")
        self.state = "recording"
        self.tell("RecordingStarted")
        beep_ms = self.stasis.sounds.length_ms("beep", "en") if self.beeps else 0
        if beep_ms is None:
            self.stasis.recordings.delete(self.name)
            self.tell("RecordingFinished")
            self.forget()
        elif beep_ms:
            self.is_beeping = True
            self.timer.set(beep_ms / 1000, self.start_to_hear)
            self.stasis.audio_changed()
        else:
            self.start_to_hear()

    def start_to_hear(self) -> None:
        """What is heard counts from here on."""
        self.is_beeping, self.is_started = False, True
        self.last_frame = self.stasis.now
        if self.max_seconds:
            # Asterisk: whole seconds of the clock are compared, so it ends up to a second late (__ast_play_and_record).
            self.limit = int(self.stasis.now) + self.max_seconds + 1
        self.stasis.audio_changed()     # this one listens, and others hear no beep any more

    def sends_audio(self) -> bool:
        return self.is_beeping

    def reckon(self) -> None:
        """Count what was heard since the last look."""
        if self.hears_since is not None:
            heard_ms = (self.stasis.now - self.hears_since) * 1000
            self.hears_since = self.last_frame = self.stasis.now
            self.heard_ms += heard_ms
            if self.state == "paused":
                self.paused_ms = self.heard_ms
            else:
                self.written_ms += heard_ms

    def silence_ms(self) -> float:
        """How long the silence at the end is: since the last pause ended, or since the start while one lasts (main/app.c)."""
        return self.heard_ms - (0 if self.state == "paused" else self.paused_ms)

    def listen(self) -> None:
        """See who sends now, and that the end comes when it is due."""
        if not self.is_started:
            return
        self.reckon()
        now, hears = self.stasis.now, self.target.hears_audio()
        self.hears_since = now if hears else None
        due = self.last_frame + NO_AUDIO_SECONDS
        if hears:
            due = math.inf
            if self.state != "paused":
                due = min(self.limit or math.inf, now + (longest_ms(self.format) - self.written_ms) / 1000)
            if self.max_silence_seconds:
                due = min(due, now + self.max_silence_seconds - self.silence_ms() / 1000)
        if due <= now:
            self.end(trims=hears)
        elif due < math.inf:
            self.timer.set(due - now, self.listen)
        else:
            self.timer.cancel()

    def hear_digit(self, digit: str) -> None:
        """A digit is a frame, and may be the one that ends the recording."""
        if digit in self.terminate_on and not self.is_beeping:
            self.end(trims=True)
        else:
            self.hear_frame()

    def hear_frame(self) -> None:
        """A frame without sound, as every command to a running recording is: what ends for want of frames goes on."""
        if self.is_started:
            self.last_frame = self.stasis.now
            self.listen()

    def pause(self, is_on: bool) -> None:
        """Pause or go on. The limit waits meanwhile, by whole seconds of the clock."""
        self.require_session()
        if is_on == (self.state == "paused"):
            return
        if self.is_beeping:
            self.state = "paused" if is_on else "recording"
            return
        self.reckon()
        if is_on:
            self.state, self.pause_began = "paused", int(self.stasis.now)
        else:
            self.state = "recording"
            if self.limit:
                self.limit += int(self.stasis.now) - self.pause_began
        self.hear_frame()

    def mute(self, is_on: bool) -> None:
        """All that is recorded is silence anyhow. Asterisk: what was muted once is so for ever (recording_unmute)."""
        self.require_session()
        if is_on != self.was_muted:
            self.was_muted = True
            self.hear_frame()

    def require_session(self) -> None:
        require(self.state in ("recording", "paused"), 409, "Recording not in session")

    def stop(self, deletes: bool = False) -> None:
        """Stop or cancel; one that still waits is canceled, and Asterisk records it all the same in its turn."""
        if self.state == "queued":
            self.state = "canceled"
            return
        self.require_session()
        if self.is_beeping:
            return                      # Asterisk: what plays the beep takes the order away (ast_stream_and_wait)
        self.deletes = deletes
        has_file = self.stasis.recordings.get(self.name) is not None
        self.end()
        require(has_file or not deletes, 500, "Recording operation failed")      # Asterisk: ended all the same (recording_discard)

    def fail(self) -> None:
        """The recording is done; one that waited starts first, if the channel was answered (after which Asterisk waits 4 s)."""
        if self.state in ("recording", "paused"):
            self.end()
        elif isinstance(self.target, Channel) and (self.target.state != "Up" or self.is_current()):
            self.end_failed("Failed to answer channel")
        else:
            self.beeps = False
            self.start()
            self.end()

    def end(self, trims: bool = False) -> None:
        """RecordingFinished with what was heard; the file stays unless the recording was cancelled.

        `trims`: a digit, a limit or silence ended it, and of the silence at its end only 200 ms stay in the file."""
        if not (self.is_started or self.is_beeping):
            return
        self.reckon()
        more = self.durations() if self.is_started else {}
        self.is_started = self.is_beeping = False
        if trims and self.max_silence_seconds:
            self.written_ms -= min(self.written_ms, max(0, self.silence_ms() - KEPT_SILENCE_MS))
        if self.deletes:
            self.stasis.recordings.delete(self.name)
        else:
            self.stasis.recordings.end(self.name, self.format, self.written_ms)
        self.state = "done"
        self.tell("RecordingFinished", **more)
        self.forget()

    def durations(self) -> dict[str, int]:
        """What RecordingFinished tells, in whole seconds (main/app.c, __ast_play_and_record).

        With maxSilenceSeconds the silence at the end, but for 200 ms, is taken off, each number rounded for itself, and off the
        talking only where no pause has cut the silence:

            heard                               written  silence  duration          talking  silence
            3.5 s                               3.5      3.5      3 - int(3.3) = 0  0        0
            2.5 s, a pause of 1 s, and 1.5 s    4.0      1.5      4 - int(1.3) = 3  4        -1"""
        written = int(self.written_ms / 1000 + 1e-6)         # else a sum of floats just below 3 s would count as 2
        if not self.max_silence_seconds:
            return {"duration": written}
        silence_ms = self.silence_ms()
        cut = int((silence_ms - KEPT_SILENCE_MS) / 1000) if silence_ms > 0 else 0
        duration = max(0, written - cut)
        talking = duration if silence_ms == self.heard_ms else written
        return {"duration": duration, "talking_duration": talking, "silence_duration": duration - talking}

    def end_failed(self, cause: str) -> None:
        """End with RecordingFailed."""
        self.state = "failed"
        self.tell("RecordingFailed", cause=cause)
        self.forget()

    def forget(self) -> None:
        self.is_started = self.is_beeping = False
        if self.stasis.live_recordings.get(file_name(self.name)) is self:
            del self.stasis.live_recordings[file_name(self.name)]
        super().forget()

# --- 7.10 Telephones
SECONDS_PATTERN = r"[0-9]{1,9}(\.[0-9]{1,9})?"          # of what a test may say
MAX_REACHED = 100                       # the newest states of a telephone's calls, that a test may wait for

class Technology(Subject):
    """All telephones of a technology, as something to follow."""
    kind = "endpoint"

class Endpoint(Subject):
    """A telephone: whether it is registered, where its calls go, and what it says of itself. It does nothing by itself."""
    kind = "endpoint"

    def __init__(self, stasis: Stasis, technology: str, resource: str) -> None:
        super().__init__(stasis, "%s/%s" % (technology, resource))
        self.technology = stasis.technologies.setdefault(technology, Technology(stasis, technology))
        self.resource, self.context, self.caller, self.channel_id = resource, "default", ("", ""), ""       # of its newest call
        self.is_registered = False
        self.habit: tuple[float, str] | None = None     # what it does of itself when it is called: (seconds, action)
        self.channel_ids: list[str] = []
        self.calls: list[Channel] = []                  # the newest last
        self.reached: collections.deque[tuple[int, str]] = collections.deque(maxlen=MAX_REACHED)    # what states they have come to
        stasis.endpoints[self.id] = self
        stasis.phone_states.setdefault(self.id, "UNAVAILABLE")

    def to_json(self, state: str = "") -> dict:
        return {"technology": self.technology.id, "resource": self.resource,
                "state": state or ("online" if self.is_registered else "offline"), "channel_ids": list(self.channel_ids)}

    def to_show(self) -> dict:
        """What ARI does not tell of it: its device state, the properties of put_phone(), and its calls."""
        return {"name": self.id, "state": self.stasis.phone_states[self.id], "context": self.context,
                "callerId": ("%s <%s>" % self.caller).strip() if any(self.caller) else "", "channel_id": self.channel_id,
                "calls": [{"channel_id": call.id, "name": call.name, "state": call.state} for call in self.calls]}

    def tell_state(self, state: str = "") -> None:
        """EndpointStateChange, to who follows it or its technology."""
        for application in (*self.followers, *self.technology.followers):
            self.stasis.emit([application], "EndpointStateChange", endpoint=self.to_json(state))

    def register(self, is_on: bool) -> None:
        """Come or go; nothing where that is so already."""
        if is_on == self.is_registered:
            return
        self.is_registered = is_on
        self.tell_state()
        contact = {"uri": "sip:%s@127.0.0.1:5060" % self.resource, "contact_status": "NonQualified" if is_on else "Removed",
                   "aor": self.resource, "roundtrip_usec": "0"}
        hearers = [*self.followers, *self.technology.followers, *self.stasis.followers_of_all("endpoint")]
        self.stasis.emit(hearers, "PeerStatusChange", endpoint=self.to_json(),
                         peer={"peer_status": "Reachable" if is_on else "Unreachable"})
        self.stasis.emit(hearers, "ContactStatusChange", endpoint=self.to_json(), contact_info=contact)
        self.reckon()

    def reckon(self) -> None:
        """Compute the device state anew over all calls, and tell it when it is another one; a removed telephone has none."""
        if self.stasis.endpoints.get(self.id) is not self:
            return
        rings = any(channel.state == "Ringing" for channel in self.calls)
        is_used = any(channel.state in ("Up", "Ring") for channel in self.calls)
        idle = "NOT_INUSE" if self.is_registered else "UNAVAILABLE"
        holds = any(channel.phone.is_held_here for channel in self.calls)
        state = "RINGINUSE" if rings and is_used else "RINGING" if rings else "ONHOLD" if holds else "INUSE" if is_used else idle
        if self.stasis.phone_states[self.id] != state:
            self.stasis.phone_states[self.id] = state
            tell_device(self.stasis, self.id)

    def new_channel(self, channel_id: str, state: str, exten: str, context: str = "") -> Channel:
        """A channel of this telephone: called (Down) or calling (Ring)."""
        serial = self.stasis.phone_serials.setdefault(self.technology.id.lower(), itertools.count())
        name, number = self.caller
        if state == "Ring" and not number:
            name, number = "", self.resource
        call = PhoneCall(self, (name, number), state == "Ring", exten)
        self.channel_ids.append(channel_id)
        self.channel_id = channel_id
        self.tell_state()
        channel = Channel(self.stasis, channel_id, "%s-%08x" % (self.id, next(serial)), state,
                          Place(context or self.context, exten, 1), call)
        call.channel, call.call_id = channel, self.stasis.new_id()
        channel.dialstring = self.resource
        self.calls.append(channel)
        channel.publish()
        return channel

    # What the telephone does

    def call(self, extension: str, context: str = "") -> Channel | None:
        """Call an extension of a context, by default its own; None where there is none (the telephone is told 404)."""
        context = context or self.context
        if dialplan_step(self.stasis, Place(context, extension, 1)) is None:
            self.stasis.hint("%s has called the extension %s, which is not in the context %s: stasis-APP has every one while the "
                             "application APP is connected" % (self.id, extension, context))
            return None
        channel = self.new_channel(self.stasis.unique_id(), "Ring", extension, context)
        channel.set_variable("SIPDOMAIN", "127.0.0.1")
        Dialplan(channel).run()
        return channel

    def newest(self, *states: str) -> Channel:
        """Its newest call in one of these states; one that is being called counts only once it has been. AriError 409 for none."""
        found = next((channel for channel in reversed(self.calls) if channel.state in states and not channel.is_over and (
            channel.phone.is_incoming or channel.phone.is_called)), None)
        return existing(found, "%s has no call that is %s" % (self.id, " or ".join(states)), 409)

class Voice:
    """Who is at the other end of a channel, outside: what is said there and heard.

    `says` are frames of 20 ms in ulaw, none are silence, and whether they go round. Who carries the audio reads it, and `hears`,
    without the lock: neither is ever changed, only replaced."""

    is_phone = False

    def __init__(self, stasis: Stasis) -> None:
        self.channel: Channel | None = None
        self.says: tuple[tuple[bytes, ...], bool] = ((), False)
        self.hears: tuple[Voice | None, ...] = ()       # as Channel.audio() says
        # The carrier's alone: what came from a program, or went to a telephone, in 30 s; how much in all; since when this is said.
        self.received = Recent()
        self.heard, self.said_since = 0, ((), 0)
        self.silence_ms: int | None = None              # of TALK_DETECT(set); None: nobody wants to know
        self.is_talking, self.talks_since = False, None
        self.silence, self.saying = Timer(stasis), Timer(stasis)
        stasis.voices.append(self)

    def is_heard(self) -> bool:
        """True while frames come from there."""
        return False

    def say(self, frames: tuple[bytes, ...], seconds: float) -> None:
        """Say something, once; a tone of so many seconds where that is nothing."""
        self.talk(True, (frames, False) if frames else ((TONE,), True))
        if frames:                      # which are said to their end, however late that is
            self.saying.set(len(frames) * FRAME_SECONDS, lambda: self.note_talk(False))
        else:
            self.saying.set(seconds, lambda: self.talk(False))

    def talk(self, is_on: bool, says: tuple[tuple[bytes, ...], bool] = ((TONE,), True)) -> None:
        """Begin or cease to talk."""
        self.saying.cancel()
        self.says = says if is_on else ((), False)
        self.note_talk(is_on)

    def note_talk(self, is_on: bool) -> None:
        """Whether somebody talks; told where TALK_DETECT(set) was set, the end once it has been silent for so long."""
        self.is_talking = is_on
        if is_on and self.silence_ms is not None and self.talks_since is None:
            self.talks_since = self.channel.stasis.now
            self.channel.emit("ChannelTalkingStarted", channel=self.channel.published)
        elif not is_on and self.talks_since is not None:
            self.silence.set(self.silence_ms / 1000, self.talk_is_over)
        if is_on:
            self.silence.cancel()

    def talk_is_over(self) -> None:
        duration = int((self.channel.stasis.now - self.talks_since) * 1000)
        self.talks_since = None
        self.channel.emit("ChannelTalkingFinished", head={"duration": duration}, channel=self.channel.published)

    def detect_talk(self, argument: str, value: str) -> None:
        """TALK_DETECT(set)=SILENCE_MS,THRESHOLD or TALK_DETECT(remove)= (func_talkdetect.c)."""
        self.silence.cancel()
        self.talks_since = self.silence_ms = None
        if argument.lower().startswith("set"):
            self.silence_ms = c_integer(value) or TALK_SILENCE_MS
            if self.is_talking:
                self.note_talk(True)

    def counts(self) -> dict:
        """What was heard there, as /control/media tells it."""
        return {"format": "ulaw", "received": self.heard, "received_bytes": self.heard * FRAME_BYTES}

    def end(self) -> None:
        """The last publication of the channel is to come."""
        self.silence.cancel()
        self.saying.cancel()

    def forget(self) -> None:
        """The channel is gone."""
        self.channel.stasis.voices.remove(self)
        self.channel.stasis.ended_voices.append(self)
        self.channel.stasis.audio_changed()

class ExternalMedia(Voice):
    """The program behind a UnicastRTP channel."""

    def __init__(self, channel: Channel, line: RtpLine) -> None:
        super().__init__(channel.stasis)
        self.channel, self.line, self.sends, self.received = channel, line, False, line.received_lately

    def is_heard(self) -> bool:
        return self.sends

    def counts(self) -> dict:
        line = self.line
        return {"format": line.format, "local_port": line.port, "sent": line.sent, "sent_bytes": line.sent_bytes,
                "received": line.received, "received_bytes": line.received_bytes}

    def set_state(self, sends: bool, is_talking: bool) -> None:
        """Whether packets come, and whether they are loud."""
        if sends != self.sends:
            self.sends = sends
            self.channel.stasis.audio_changed()
        if is_talking != self.is_talking:
            self.note_talk(is_talking)

class PhoneCall(Voice):
    """What a telephone has to do with its channel."""
    is_phone = True

    def __init__(self, endpoint: Endpoint, caller: tuple[str, str], is_incoming: bool, exten: str) -> None:
        super().__init__(endpoint.stasis)
        self.endpoint, self.caller, self.is_incoming = endpoint, caller, is_incoming
        self.items = {("CALLERID", "ani-", "party"): ("", caller[1]), **({("CALLERID", "", "dnid"): exten} if is_incoming else {})}
        self.call_id = ""                               # of SIP: "" at the first publication and at the last
        self.is_called, self.reached = False, ""        # a telephone that is called; the state that was told last
        self.media_since: float | None = None           # when there were media first, which may be before the answer
        self.is_held = False                            # by the telephone
        self.is_held_here = False                       # over HTTP

    def is_heard(self) -> bool:
        """Always once it is Up, if only silence."""
        return self.channel.state == "Up"

    def reckon(self) -> None:
        if self.channel.state != self.reached:
            self.reached = self.channel.state
            self.endpoint.reached.append((next(self.endpoint.stasis.serial), self.reached))
        if self.channel.state == "Up" and self.media_since is None:
            self.media_since = self.channel.stasis.now
            self.channel.stasis.audio_changed()
        self.endpoint.reckon()

    def follow_habit(self) -> None:
        """Ring, and do by and by what the telephone does of itself when it is called."""
        if self.endpoint.habit:
            seconds, action = self.endpoint.habit
            def act_now() -> None:
                if self.channel.state in ("Down", "Ringing") and not self.channel.is_over:
                    PHONE_ACTIONS[action][1](self)
            if seconds or action == "answer":
                self.ring()
            Timer(self.channel.stasis).set(seconds, act_now)

    def media_change(self) -> None:
        """Its media are set up anew, of which a bridge makes a round."""
        if self.channel.bridge:
            self.channel.bridge.settle()

    def ring(self) -> None:
        self.channel.other_side_rings()
        self.reckon()

    def answer(self) -> None:
        self.channel.other_side_answers()
        self.begin_media()
        self.reckon()

    def progress(self) -> None:
        """Early media."""
        self.channel.announce_dial("PROGRESS")
        self.begin_media()

    def begin_media(self) -> None:
        """From now on there are packets."""
        if self.media_since is None:
            self.media_since = self.channel.stasis.now
            self.media_change()

    def refuse(self, cause: int) -> None:
        """The telephone does not take the call."""
        self.channel.announce_hangup(cause, False)
        self.channel.end(cause)

    def hang_up(self) -> None:
        """The telephone ends the call, whatever it is."""
        channel = self.channel
        if channel.state == "Up":
            channel.announce_hangup(None if channel.cause else NORMAL_CLEARING, False)
            channel.end(channel.cause or NORMAL_CLEARING)
        else:
            self.refuse(INTERWORKING if self.is_incoming else CALL_REJECTED)

    def press(self, digits: str) -> None:
        """Digits of 100 ms. Not Asterisk: they are heard at once, where a telephone takes 200 ms for each."""
        for digit in digits.upper():
            if digit in DIGITS and not self.channel.is_over:
                self.channel.hear_digit(digit, MIN_DIGIT_MS)

    def hold(self, is_on: bool) -> None:
        """Put the call on hold, or take it back."""
        if is_on != self.is_held:
            self.is_held = is_on
            self.media_change()
            for peer in self.channel.bridge.channels() if self.channel.bridge else ():
                if peer.phone and peer is not self.channel:
                    peer.phone.is_held_here = is_on
                    peer.phone.reckon()
            music = {"musicclass": "default"} if is_on else {}
            self.channel.emit("ChannelHold" if is_on else "ChannelUnhold", **music, channel=self.channel.published)

    def end(self) -> None:
        super().end()
        if not self.is_incoming and not self.is_called:
            self.channel.announce_hangup(None, False)
        self.call_id = ""

    def forget(self) -> None:
        super().forget()
        self.endpoint.calls.remove(self.channel)
        self.endpoint.channel_ids.remove(self.channel.id)
        self.endpoint.tell_state()
        self.reckon()

# What a telephone does with its newest call: in which states of it, and what that comes to.
PHONE_ACTIONS = {
    "ring": (("Down", "Ringing"), PhoneCall.ring), "progress": (("Down", "Ringing"), PhoneCall.progress),
    "answer": (("Down", "Ringing"), PhoneCall.answer), "busy": (("Down", "Ringing"), lambda call: call.refuse(17)),
    "reject": (("Down", "Ringing"), lambda call: call.refuse(CALL_REJECTED)),
    "unavailable": (("Down", "Ringing"), lambda call: call.refuse(19)),
    "hangup": (("Down", "Ringing", "Ring", "Up"), PhoneCall.hang_up), "hold": (("Up",), lambda call: call.hold(True)),
    "unhold": (("Up",), lambda call: call.hold(False)), "talk": (("Up",), lambda call: call.talk(True)),
    "silence": (("Up",), lambda call: call.talk(False))}

def habit_of(given: dict) -> tuple[float, str] | None:
    """What a telephone does when it is called: 400 for what it cannot."""
    refuses, answers = given.get("refuses"), given.get("answers")
    require(refuses in (None, "", "busy", "reject", "unavailable"), 400, "refuses is busy, reject or unavailable, or empty")
    is_number = answers is None or re.fullmatch(SECONDS_PATTERN, str(answers)) is not None
    require(is_number, 400, "answers is a number of seconds")
    return (float(answers or 0), refuses or "answer") if refuses or answers is not None else None

def put_phone(stasis: Stasis, technology: str, resource: str, given: dict) -> dict:
    """Make a telephone, or give one that is there new properties: context, caller_id, registered, answers (seconds) or refuses
    (busy, reject, unavailable). What is not given is as at first."""
    is_name = bool(technology and resource) and "/" not in technology + resource and not CONTROL.search(technology + resource)
    require(is_name and technology.lower() not in ("local", "snoop", "unicastrtp"), 400,
            "A telephone is TECHNOLOGY/NAME, and not of a technology that is there already")
    require_utf8(technology, resource)
    registered = str(given.get("registered", True)).lower()
    require(registered in TRUE_WORDS | FALSE_WORDS, 400, "registered is true or false")
    habit, phone = habit_of(given), stasis.endpoints.get("%s/%s" % (technology, resource))
    if phone is None:
        require_room(stasis.endpoints, stasis.phone_states, stasis.technologies)        # of which the last two outlive it
        phone = Endpoint(stasis, technology, resource)
        phone.tell_state("unknown")
        phone.tell_state()
    phone.context = str(given.get("context") or "default")
    phone.caller = parse_caller_id(str(given.get("caller_id") or ""))
    phone.habit = habit
    phone.register(registered in TRUE_WORDS)
    return phone.to_json()

def move_phone(stasis: Stasis, technology: str, resource: str, action: str, given: dict) -> object:
    """Make, change, remove or move a telephone: what /control/phones and Server.phone() come to; AriError 400, 404, 409.

    `given`: what put_phone() takes; of call extension and context; of digits digits; of say sound."""
    require_utf8(given)
    if action == "put":
        return put_phone(stasis, technology, resource, given)
    phone = existing(stasis.endpoints.get("%s/%s" % (technology, resource)), "There is no such telephone")
    if action == "delete":
        phone.register(False)
        del stasis.endpoints[phone.id]
        return None
    if action == "call":
        channel = phone.call(str(given.get("extension") or ""), str(given.get("context") or ""))
        return {"channel_id": channel.id if channel else None}
    if action == "digits":
        channel, digits = phone.newest("Up"), str(given.get("digits") or "")
        require(len(digits) <= MAX_PRESSED, 400, "More than %d digits at a time" % MAX_PRESSED)
        require(bool(digits) and DIGITS.issuperset(digits), 400, "digits are of 0123456789*#ABCD")
        channel.phone.press(digits)
        return None
    if action == "say":
        return say(stasis, phone.newest("Up"), str(given.get("sound") or ""))
    states, do = PHONE_ACTIONS[action]
    do(phone.newest(*states).phone)
    return None

def say(stasis: Stasis, call: Channel, name: str) -> Later:
    """Let a telephone say a sound: 404 for one that is not there. Where it has no file that can be said, a tone of its length."""
    length = existing(stasis.sounds.length_ms(name, call.language), "There is no such sound")
    file = stasis.sounds.file(name, call.language)
    def then(stasis: Stasis, frames: tuple[bytes, ...]) -> None:
        if not call.is_over:            # it may be meanwhile
            call.phone.say(frames, length / 1000)
    return Later(lambda server: speech(*file) if file else (), then, AriError(500, "The sound cannot be read"))

def find_voice(stasis: Stasis, name: str) -> Voice:
    """The voice of a channel that is there, or was until lately: AriError 404 for none."""
    channel = stasis.find_channel(name)
    ended = (voice for voice in reversed(stasis.ended_voices) if name in (voice.channel.id, voice.channel.name))
    return existing(channel.voice if channel else next(ended, None), "There is no such media")

def media_json(stasis: Stasis, name: str) -> dict:
    """What went over a channel of a telephone or of external media, as /control/media tells it: AriError 404 for another."""
    voice = find_voice(stasis, name)
    return {"channel_id": voice.channel.id, **voice.counts()}

def received_media(stasis: Stasis, name: str) -> bytes:
    """The last 30 s of what a program has sent, in its format, or of what a telephone has heard, in ulaw: AriError 404."""
    return b"".join(list(find_voice(stasis, name).received.frames))

def set_talk_detect(stasis: Stasis, channel: Channel, argument: str, value: str) -> None:
    if channel.voice:
        channel.voice.detect_talk(argument, value)

def channel_names(stasis: Stasis, channel: Channel | None, argument: str) -> str:
    """CHANNELS(text): the names that it is found in (func_channel.c). Not Asterisk: no regular expression."""
    return " ".join(known.name for known in stasis.channels.values() if argument in known.name)

def endpoint_item(stasis: Stasis, channel: Channel | None, argument: str) -> str | None:
    """PJSIP_ENDPOINT(name,context) (func_pjsip_endpoint.c)."""
    name, _, item = argument.partition(",")
    endpoint = stasis.endpoints.get("PJSIP/" + name)
    return endpoint.context if endpoint and item == "context" else None

def write_nothing(stasis: Stasis, channel: Channel | None, argument: str, value: str) -> None:
    """A function that is only read."""

FUNCTIONS["TALK_DETECT"] = Function(lambda stasis, channel, argument: None, set_talk_detect)
FUNCTIONS["CHANNELS"] = Function(channel_names, write_nothing, is_global=True)
FUNCTIONS["PJSIP_ENDPOINT"] = Function(endpoint_item, write_nothing, is_global=True)

# --- 7.11 Devices, mailboxes, globals
DEVICE_STATES = ("UNKNOWN", "NOT_INUSE", "INUSE", "BUSY", "INVALID", "UNAVAILABLE", "RINGING", "RINGINUSE", "ONHOLD")
FIXED_GLOBALS = {
    "SYSTEMNAME": "", "ASTCACHEDIR": "/var/cache/asterisk", "ASTETCDIR": "/etc/asterisk", "ASTSBINDIR": "/usr/sbin",
    "ASTMODDIR": "/usr/lib/asterisk/modules", "ASTAGIDIR": "/var/lib/asterisk/agi-bin", "ASTSPOOLDIR": "/var/spool/asterisk",
    "ASTRUNDIR": "/var/run/asterisk", "ASTLOGDIR": "/var/log/asterisk",
    **dict.fromkeys(("ASTVARLIBDIR", "ASTDBDIR", "ASTKEYDIR", "ASTDATADIR"), "/var/lib/asterisk")}

class Mailbox(NamedTuple):
    """Counts of messages, and the extra (attribute, value) pairs of its configuration object."""
    old_messages: int
    new_messages: int
    extra: tuple = ()

def read_global(stasis: Stasis, name: str) -> str | None:
    """A built-in global variable, whatever was set under its name, else one that was set; None where there is none."""
    return built_in_globals(stasis).get(name, stasis.global_variables.get(name))

def built_in_globals(stasis: Stasis) -> dict[str, str]:
    """What reads without being set."""
    return {"EPOCH": "%d" % stasis.now, "ENTITYID": stasis.entity_id, **FIXED_GLOBALS}

def set_global(stasis: Stasis, name: str, value: str | None) -> None:
    """Set a global variable, or unset it with None; told to applications that follow everything. A function is written."""
    if name.endswith(")"):
        function, argument = split_call(name)
        if function and function.is_global:
            function.write(stasis, None, argument, value or "")
        else:
            stasis.hint("the function in %s does not exist here without a channel, and setting it has no effect" % name)
        return
    before = stasis.global_variables.pop(bare_name(name), "")
    if value is not None:
        stasis.global_variables[bare_name(name)] = value
    if value is not None or before:
        stasis.emit(stasis.followers_of_all("channel"), "ChannelVarset", head={"variable": name, "value": value or ""})

def device_state(stasis: Stasis, device: str) -> str:
    """The state of any device name; it never fails."""
    kind, colon, name = device.partition(":")
    states = {"stasis": stasis.device_states, "custom": stasis.custom_states}.get(kind.lower() if colon else "")
    if states is not None and (name in states or "/" not in name):
        return states.get(name, "UNKNOWN")
    if kind == "MWI" and name in stasis.known_mailboxes:
        return "INUSE" if stasis.mailboxes.get(name, Mailbox(0, 0)).new_messages > 0 else "NOT_INUSE"
    if device in stasis.phone_states:
        return stasis.phone_states[device]
    # Not Asterisk: Local devices have a state, but nobody is told when it changes.
    technology, _, resource = device.partition("/")
    exten, context = local_place(resource)
    if technology != "Local" or not context:
        return "INVALID"
    if any(channel.is_dialled and local_place(channel.dialstring) == (exten, context) for channel in stasis.channels.values()):
        return "INUSE"
    return "NOT_INUSE" if dialplan_step(stasis, Place(context, exten, 1)) else "INVALID"

def tell_device(stasis: Stasis, device: str) -> None:
    """DeviceStateChanged with the device's present state; here the application stands before the timestamp."""
    shown = {"name": device, "state": device_state(stasis, device)}
    for application in stasis.applications.values():
        if device in application.device_names or ALL_TOPICS["deviceState"] in application.device_names:
            stasis.emit([application], "DeviceStateChanged", device_state=shown,
                        head={"type": "DeviceStateChanged", "application": application.name})

def write_custom_state(stasis: Stasis, channel: Channel | None, device: str, value: str) -> None:
    """DEVICE_STATE(Custom:NAME)=STATE; of other devices, and to other words, it does nothing."""
    prefix, _, name = device.partition(":")
    if prefix == "Custom" and value.upper() in DEVICE_STATES and len(stasis.custom_states) < MAX_KEPT:
        stasis.custom_states[name] = value.upper()
        tell_device(stasis, device)

def set_device_state(stasis: Stasis, name: str, state: str) -> None:
    """Store the state of Stasis:NAME; told when it is another one."""
    if stasis.device_states.get(name) != state:
        stasis.device_states[name] = state
        stasis.known_devices.add(name)
        tell_device(stasis, "Stasis:" + name)

def delete_device_state(stasis: Stasis, name: str) -> None:
    """Forget Stasis:NAME; told, at every repetition, where it ever had a state."""
    stasis.device_states.pop(name, None)
    if name in stasis.known_devices:
        tell_device(stasis, "Stasis:" + name)

def set_mailbox(stasis: Stasis, name: str, mailbox: Mailbox | None) -> None:
    """Set or (None) delete a mailbox; its MWI device is told when that changes, and when it is new."""
    device, is_new = "MWI:" + name, name not in stasis.known_mailboxes
    before = device_state(stasis, device)
    if mailbox is None:
        del stasis.mailboxes[name]
    else:
        stasis.mailboxes[name] = mailbox
        stasis.known_mailboxes.add(name)
    if is_new or device_state(stasis, device) != before:
        tell_device(stasis, device)

FUNCTIONS["GLOBAL"] = Function(lambda stasis, channel, argument: stasis.global_variables.get(argument, ""),
                               lambda stasis, channel, argument, value: set_global(stasis, argument, value), is_global=True)
def dialplan_exists(stasis: Stasis, channel: Channel | None, argument: str) -> str:
    """DIALPLAN_EXISTS(context[,exten[,priority or label]]): 1 or 0 (pbx_functions: acf_isexten_exec)."""
    context, exten, priority = [*argument.split(","), "", ""][:3]
    if not exten:
        return "%d" % (context in stasis.dialplan.contexts)
    found = labelled_priority(stasis, context, exten, priority or "1")
    return "%d" % (found is not None and dialplan_step(stasis, Place(context, exten, found)) is not None)

FUNCTIONS["DIALPLAN_EXISTS"] = Function(dialplan_exists, write_nothing, is_global=True)
FUNCTIONS["DEVICE_STATE"] = Function(lambda stasis, channel, argument: device_state(stasis, argument), write_custom_state,
                                     is_global=True)


# === 8. Operations ===
# The 98 operations, by resource in the order of the API description: the models of the resource, its words and look-ups, then
# each declaration above its behaviour. An operation checks, changes, announces, answers, in this order unless a comment says
# otherwise: the order of checks shows on the wire, and where one goes before a look-up the operation takes the id. A docstring
# says what is done, what comes back, and which events follow, in order. What an operation returns is the JSON of a 200,
# nothing is a 204, and a Response is itself. No operation sees a request, a socket or the lock. Rules: res/ari/resource_*.c.

# --- 8.1 /asterisk
RESOURCES["asterisk"] = Resource("The server itself.", """
BuildInfo (How the server was built.): os!, kernel!, options!, machine!, date!, user!
SystemInfo (Version and identity of the server.): version!, entity_id!
SetId (User and group the server runs as.): user!, group!
ConfigInfo (What the server was configured with.): name!, default_language!, max_channels?:int, max_open_files?:int,
    max_load?:double, setid!:SetId
StatusInfo (When the server started and last reloaded.): startup_time!:Date, last_reload_time!:Date
AsteriskInfo (What there is to know of the server.): build?:BuildInfo, system?:SystemInfo, config?:ConfigInfo, status?:StatusInfo
AsteriskPing (An answer to a ping.): asterisk_id!, ping!, timestamp!
~Module (A module of the server.): name!, description!, use_count!:int, status!, support_level!
~LogChannel (A place where the server logs.): channel!, type!, status!, configuration!
Variable (The value of a variable.): value!
ConfigTuple (One attribute of a configuration object.): attribute!, value!
""")
MAILBOX_COUNT = re.compile(r"[ \t-\r]*(0[xX][0-9a-fA-F]{1,8}|0[0-7]*|[1-9][0-9]{0,9})", re.ASCII)
SYSTEM = os.uname()
VariableName = Text.needed("Variable name is required")
# Not Asterisk: a few modules and two log channels stand for the many of a real server.
MODULES = {                             # name: description, whether it can be reloaded, how many use it (0: it can be unloaded)
    "app_echo.so": ("Simple Echo Application", False, 0),
    "logger": ("Logger", True, 1),
    "res_ari.so": ("Asterisk RESTful Interface", True, 1),
    "res_ari_applications.so": ("RESTful API module - Stasis application resources", False, 1),
    "res_ari_asterisk.so": ("RESTful API module - Asterisk resources", False, 1),
    "res_ari_bridges.so": ("RESTful API module - Bridge resources", False, 1),
    "res_ari_channels.so": ("RESTful API module - Channel resources", False, 1),
    "res_stasis.so": ("Stasis application support", False, 1)}
LOG_LEVELS = ("DEBUG", "TRACE", "NOTICE", "WARNING", "ERROR", "VERBOSE", "DTMF", "CC", "FAX", "SECURITY")
LOG_FORMAT = re.compile(r"^\[(json|default|plain)\]")
CONFIGURED_LOGS = (("full", "DEBUG NOTICE WARNING ERROR VERBOSE "), ("console", "NOTICE WARNING ERROR VERBOSE "))
SYSLOG_FACILITY = re.compile("kern|user|mail|daemon|auth|authpriv|syslog|lpr|news|uucp|cron|ftp|local[0-7]")

def find_mailbox_object(stasis: Stasis, config_class: str, object_type: str, id: str, must_exist: bool) -> Mailbox | None:
    """The one kind of object there is: a mailbox of res_mwi_external; 404 for each part that is not there."""
    require(config_class == "res_mwi_external", 404, "configClass '%s' not found" % config_class)
    require(object_type == "mailboxes", 404, "objectType '%s' not found" % object_type)
    mailbox = stasis.mailboxes.get(id)
    require(mailbox is not None or not must_exist, 404, "Object with id '%s' not found" % id)
    return mailbox

def mailbox_attributes(mailbox: Mailbox) -> list[dict]:
    """Asterisk: the counts are unsigned here, and signed in /mailboxes (res_mwi_external.c)."""
    pairs = [*mailbox.extra, ("msgs_new", str(mailbox.new_messages % 2**32)), ("msgs_old", str(mailbox.old_messages % 2**32))]
    return [{"attribute": attribute, "value": value} for attribute, value in pairs]

@operation("GET /asterisk/config/dynamic/{configClass}/{objectType}/{id}", returns="List[ConfigTuple]", errors="404")
def asterisk_get_object(stasis, config_class, object_type, id):
    """Show a configuration object."""
    return mailbox_attributes(find_mailbox_object(stasis, config_class, object_type, id, must_exist=True))

@operation("PUT /asterisk/config/dynamic/{configClass}/{objectType}/{id}", returns="List[ConfigTuple]", errors="400 403 404")
def asterisk_update_object(stasis, config_class, object_type, id, fields=Member):
    """Create or change a configuration object. 200 with all its fields; of a bad list none is set. Event: as PUT /mailboxes."""
    old = find_mailbox_object(stasis, config_class, object_type, id, must_exist=False)
    require(fields is not ABSENT or old is None, 400, "Fields must be provided to update object '%s'" % id, "Bad request")
    mailbox = old or Mailbox(0, 0)
    values, extra = {"msgs_new": mailbox.new_messages, "msgs_old": mailbox.old_messages}, dict(mailbox.extra)
    for field in fields if isinstance(fields, list) else ():
        name, value = (field.get("attribute"), field.get("value")) if isinstance(field, dict) else (None, None)
        good = isinstance(name, str) and isinstance(value, str)         # departure 5: else the field does not parse
        match = MAILBOX_COUNT.fullmatch(value) if good else None
        if good and name.startswith("@"):
            extra[name] = value
            continue
        require(bool(match) and name.lower() in values and c_literal(match.group(1)) < 2**32, 400,
                "%s of object '%s' failed field value validation" % ("Update" if old else "Creation", id), "Bad request")
        values[name.lower()] = wrap_integer(c_literal(match.group(1)))
    require_room(stasis.known_mailboxes)
    require_utf8(id)
    set_mailbox(stasis, id, Mailbox(values["msgs_old"], values["msgs_new"], tuple(extra.items())))
    return mailbox_attributes(stasis.mailboxes[id])

@operation("DELETE /asterisk/config/dynamic/{configClass}/{objectType}/{id}", errors="403 404")
def asterisk_delete_object(stasis, config_class, object_type, id):
    """Delete a configuration object. Event: DeviceStateChanged of its MWI device when that was in use."""
    find_mailbox_object(stasis, config_class, object_type, id, must_exist=True)
    set_mailbox(stasis, id, None)

@operation("GET /asterisk/info", returns="AsteriskInfo")
def asterisk_get_info(stasis, only=List(allowed=("build", "system", "config", "status"))):
    """Tell about the server. 200 with the sections in their own order, whatever the order asked for."""
    sections = {
        "build": {"os": SYSTEM.sysname, "kernel": SYSTEM.release, "machine": SYSTEM.machine, "options": "",
                  "date": "2023-01-01 00:00:00 UTC", "user": "ari_ref"},
        "system": {"version": VERSION, "entity_id": stasis.entity_id},
        "config": {"name": "", "default_language": "en", "setid": {"user": "", "group": ""}},
        "status": {"startup_time": ari_timestamp(stasis.started), "last_reload_time": ari_timestamp(stasis.reloaded)}}
    wanted = [word.lower() for word in only if word is not None]        # departure 5: what is no text selects nothing
    return {name: section for name, section in sections.items() if name in wanted or not only}

@operation("GET /asterisk/ping", returns="AsteriskPing")
def asterisk_ping(stasis):
    """Answer."""
    return {"ping": "pong", "timestamp": ari_timestamp(stasis.now), "asterisk_id": stasis.entity_id}

def find_module(stasis: Stasis, name: str, is_loaded: bool = True) -> str | None:
    """The module of that name in any case, with or without .so, when it is loaded (or is not)."""
    return next((module for module in MODULES if (module not in stasis.unloaded_modules) == is_loaded
                 and name.lower() in (module.lower(), module.lower().partition(".so")[0])), None)

def running_module(stasis: Stasis, name: str) -> str:
    """The full name of a module that is loaded: 404."""
    return existing(find_module(stasis, name), "Module not found in running modules")

def module_json(name: str) -> dict:
    description, _, uses = MODULES[name]
    return {"name": name, "description": description, "use_count": uses, "status": "Running", "support_level": "core"}

@operation("GET /asterisk/modules", returns="List[Module]")
def asterisk_list_modules(stasis):
    """List the modules."""
    return [module_json(name) for name in MODULES if name not in stasis.unloaded_modules]

@operation("GET /asterisk/modules/{moduleName}", returns="Module", errors="404 409")
def asterisk_get_module(stasis, module_name):
    """Show a module. Asterisk: one that is found by another spelling cannot be shown (ast_update_module_list_condition)."""
    module = existing(find_module(stasis, module_name), "Module could not be found in running modules")
    require(module == module_name, 409, "Module information could not be retrieved")
    return module_json(module)

@operation("POST /asterisk/modules/{moduleName}", errors="409")
def asterisk_load_module(stasis, module_name):
    """Load a module."""
    require(find_module(stasis, module_name) is None, 409, "Module is already loaded")
    stasis.unloaded_modules.remove(existing(find_module(stasis, module_name, is_loaded=False), "Module load declined", 409))

@operation("DELETE /asterisk/modules/{moduleName}", errors="404 409")
def asterisk_unload_module(stasis, module=running_module):
    """Unload a module."""
    require(MODULES[module][2] == 0, 409, "Module could not be unloaded")
    stasis.unloaded_modules.add(module)

@operation("PUT /asterisk/modules/{moduleName}", errors="404 409")
def asterisk_reload_module(stasis, module=running_module):
    """Reload a module. Of res_ari.so: ari.conf is read again; of logger: the log channels that were added are forgotten."""
    require(MODULES[module][1], 409, "Module does not support reloading")
    if module != "logger":
        return Later(lambda server: server.reload(), lambda stasis, result: None,
                     AriError(409, "An unknown error occurred while reloading the module"))
    stasis.added_logs.clear()
    stasis.reloaded = stasis.now
    return None

def log_exists(stasis: Stasis, name: str) -> bool:
    return name in stasis.added_logs or name == "full" or log_type(name) == "Console"

def log_type(name: str) -> str:
    """Asterisk: the name decides (main/logger.c, make_logchannel)."""
    return "Console" if name.lower() == "console" else "Syslog" if name.lower().startswith("syslog") else "File"

def log_json(name: str, levels: str) -> dict:
    """The console is shown without a name, a file with its folder (main/logger.c, make_filename)."""
    shown = {"Console": "", "Syslog": name, "File": os.path.join("/var/log/asterisk", name)}
    return {"channel": shown[log_type(name)], "type": log_type(name), "status": "Enabled", "configuration": levels}

@operation("GET /asterisk/logging", returns="List[LogChannel]")
def asterisk_list_log_channels(stasis):
    """List the log channels. 200 with the newest added first, then the configured ones."""
    return [log_json(name, levels) for name, levels in (*reversed(list(stasis.added_logs.items())), *CONFIGURED_LOGS)]

@operation("POST /asterisk/logging/{logChannelName}", errors="400 409")
def asterisk_add_log(stasis, log_channel_name, configuration=Text.needed("Configuration levels are required")):
    """Add a log channel."""
    require(not log_exists(stasis, log_channel_name), 409, "Log channel already exists")
    if log_type(log_channel_name) == "Syslog":
        opens = SYSLOG_FACILITY.fullmatch(log_channel_name.lower().partition(".")[2])
    else:
        opens = "/" not in log_channel_name.lstrip("/")                 # there are no folders inside
    require(bool(opens), 500, "Allocation failed")
    require_room(stasis.added_logs)
    require_utf8(log_channel_name)
    wanted = {word.partition("(")[0].strip().upper() for word in LOG_FORMAT.sub("", configuration).split(",")}
    stasis.added_logs[log_channel_name] = "".join(level + " " for level in LOG_LEVELS if wanted & {level, "*"})

@operation("DELETE /asterisk/logging/{logChannelName}", errors="404")
def asterisk_delete_log(stasis, log_channel_name):
    """Remove a log channel that was added."""
    existing(stasis.added_logs.pop(log_channel_name, None), "Log channel does not exist")

@operation("PUT /asterisk/logging/{logChannelName}/rotate", errors="404")
def asterisk_rotate_log(stasis, log_channel_name):
    """Rotate a log channel. Asterisk: all that were added are gone, even after a 404 (reload_logger)."""
    is_file = log_exists(stasis, log_channel_name) and log_type(log_channel_name) == "File"
    stasis.added_logs.clear()
    require(is_file, 404, "Log channel does not exist")

@operation("GET /asterisk/variable", returns="Variable", errors="400")
def asterisk_get_global_var(stasis, variable=VariableName):
    """Read a global variable. 200, with an empty value where it is not set."""
    return {"value": read_global(stasis, variable) or ""}

@operation("POST /asterisk/variable", errors="400")
def asterisk_set_global_var(stasis, variable=VariableName, value=Text):
    """Set a global variable, or unset it without a value. Event: ChannelVarset without a channel, or what a function does."""
    require_room(stasis.global_variables if value is not None else ())
    require_utf8(variable, value)
    set_global(stasis, variable, value)

# --- 8.2 /endpoints
RESOURCES["endpoints"] = Resource("What can be called.", """
~Endpoint (Something outside that can be called.): technology!, resource!, state?=unknown|offline|online, channel_ids!:List[string]
~TextMessage (A text message.): from!, to!, body!, variables?:object
""")
EndpointPart = Text(keys=["name", "description", "paramType", "dataType"])      # Asterisk: nothing else (endpoints.json)

def string_variables(value) -> dict[str, str]:
    """The variables of a body: 400 unless all are text; what is no object is ignored."""
    variables = value if isinstance(value, dict) else {}
    require(all(isinstance(text, str) for text in variables.values()), 400, "Only string values in the 'variables' object allowed")
    return variables

Variables = Member(absent={}, from_json=string_variables)              # so they are refused before anything else

def found_endpoint(stasis: Stasis, technology: str, resource: str) -> Endpoint:
    """A telephone: 404."""
    return existing(find_endpoint(stasis, technology, resource), "Endpoint not found")

def send_text(phone: Endpoint | None) -> Response:
    """202 for a telephone that is registered: 404. Nothing is seen of it."""
    require(phone is not None and phone.is_registered, 404, "Endpoint not found")
    return Response(202)

@operation("GET /endpoints", returns="List[Endpoint]")
def endpoint_list(stasis):
    """List the endpoints."""
    return [endpoint.to_json() for endpoint in stasis.endpoints.values()]

@operation("PUT /endpoints/sendMessage", errors="400 404")
def endpoint_send_message(stasis, to=Text.needed("To must be specified"), from_=Text.needed(), body=Text, variables=Variables):
    """Send a text message. 202, to a registered telephone."""
    technology, _, resource = to.partition(":")
    return send_text(find_endpoint(stasis, technology, resource))

@operation("GET /endpoints/{tech}", returns="List[Endpoint]", errors="404")
def endpoint_list_by_tech(stasis, tech=EndpointPart):
    """List the endpoints of a technology. 404 where there never was one."""
    existing(stasis.technologies.get(tech), "No Endpoints found - invalid tech %s" % tech)
    return [endpoint.to_json() for endpoint in stasis.endpoints.values() if endpoint.technology.id == tech]

@operation("GET /endpoints/{tech}/{resource}", returns="Endpoint", errors="400 404")
def endpoint_get(stasis, tech=EndpointPart, resource=EndpointPart):
    """Show an endpoint."""
    return found_endpoint(stasis, tech, resource).to_json()

@operation("PUT /endpoints/{tech}/{resource}/sendMessage", errors="400 404")
def endpoint_send_message_to_endpoint(stasis, tech=EndpointPart, resource=EndpointPart, from_=Text.needed(), body=Text,
                                      variables=Member):
    """Send a text message to an endpoint. 202, to a registered telephone."""
    phone = find_endpoint(stasis, tech, resource)
    if phone and phone.is_registered:
        string_variables(variables)
    return send_text(phone)

# --- 8.3 /channels
RESOURCES["channels"] = Resource("Channels.", """
Dialed (How far a dialled channel has come.):
DialplanCEP (A place in the dialplan and what runs there.): context!, exten!, priority!:long, app_name!, app_data!
CallerID (A name and a number.): name!, number!
RTPstat (What RTP counted and measured on a channel.): txcount!:int, rxcount!:int, txjitter?:double, rxjitter?:double,
    remote_maxjitter?:double, remote_minjitter?:double, remote_normdevjitter?:double, remote_stdevjitter?:double,
    local_maxjitter?:double, local_minjitter?:double, local_normdevjitter?:double, local_stdevjitter?:double, txploss!:int,
    rxploss!:int, remote_maxrxploss?:double, remote_minrxploss?:double, remote_normdevrxploss?:double, remote_stdevrxploss?:double,
    local_maxrxploss?:double, local_minrxploss?:double, local_normdevrxploss?:double, local_stdevrxploss?:double, rtt?:double,
    maxrtt?:double, minrtt?:double, normdevrtt?:double, stdevrtt?:double, local_ssrc!:int, remote_ssrc!:int, txoctetcount!:int,
    rxoctetcount!:int, channel_uniqueid!
Channel (A channel.): id!, protocol_id!, name!, state!=Down|Rsrved|OffHook|Dialing|Ring|Ringing|Up|Busy|Dialing
    Offhook|Pre-ring|Unknown, caller!:CallerID, connected!:CallerID, accountcode!, dialplan!:DialplanCEP, creationtime!:Date,
    language!, channelvars?:object
""", modules="res_stasis_answer res_stasis_playback res_stasis_recording res_stasis_snoop")
MAX_ID_CHARS = 149                      # channel ids given to originate
HANGUP_REASONS = {                      # DELETE /channels/{channelId}?reason=..., in documented order
    "normal": 16, "busy": 17, "congestion": 34, "no_answer": 19, "timeout": 18, "rejected": 21, "unallocated": 1,
    "normal_unspecified": 31, "number_incomplete": 28, "codec_mismatch": 58, "interworking": 127, "failure": 38,
    "answered_elsewhere": 26}
DIRECTIONS = {"both": {"in", "out"}, "in": {"in"}, "out": {"out"}}
TERMINATORS = {"none": "", "any": "0123456789#*abcd", "*": "*", "#": "#"}       # terminateOn: the digits that end a recording
SnoopSide = Text("none", allowed=("none", "both", "out", "in"))
IfExists = Text("fail", allowed=("fail", "overwrite", "append"))
TerminateOn = Text("none", allowed=tuple(TERMINATORS))
Limit = Number(0, least=0)

any_channel = one_of("channels_by_name", "Channel not found", key=str.lower)            # by its id or name, in any case
provided = one_of("channels_by_name", "Provided channel was not found", "Channel Not Found", key=str.lower)     # the same

def controlled(stasis: Stasis, channel_id: str) -> Channel:
    """A channel in an application, by its id: 404, then 409; 500 where too much waits for it."""
    any_channel(stasis, channel_id)
    channel = stasis.channels.get(channel_id)
    require(channel is not None and channel.application is not None, 409, "Channel not in Stasis application")
    require_room(channel.queue.waiting)
    return channel

def answerable(stasis: Stasis, channel_id: str) -> Channel:
    """A channel in an application that can be worked with: 404, 409, then 412 while it is being dialled."""
    channel = controlled(stasis, channel_id)
    require(channel.state not in ("Down", "Ringing"), 412, "Channel in invalid state")
    return channel

def check_formats(formats: str | None) -> None:
    for name in formats.split(",") if formats else ():
        require(name.strip().lower() in CODECS, 400, "Provided format (%s) was not found" % name)

def check_id_length(*ids: str | None) -> None:
    for channel_id in ids:
        require(len(channel_id or "") <= MAX_ID_CHARS, 400, "Uniqueid length exceeds maximum of %d" % MAX_ID_CHARS)

def endpoint_parts(endpoint: str) -> tuple[str, str]:
    """TECHNOLOGY and RESOURCE of an endpoint: 400."""
    technology, _, resource = endpoint.partition("/")
    require(bool(technology and resource), 400, "Invalid endpoint specified")
    return technology, resource

def find_endpoint(stasis: Stasis, technology: str, resource: str) -> Endpoint | None:
    """The telephone of that technology, in any case, and that name."""
    return next((endpoint for endpoint in stasis.endpoints.values()
                 if endpoint.resource == resource and endpoint.technology.id.lower() == technology.lower()), None)

def new_near_leg(stasis: Stasis, technology: str, resource: str, ids: tuple[str, str]) -> Channel:
    """The near leg of a new call: of a Local pair, or to a telephone."""
    if technology.lower() == "local":
        return new_pair(stasis, resource, *ids)
    return find_endpoint(stasis, technology, resource).new_channel(ids[0], "Down", "s")

def leg_ids(stasis: Stasis, technology: str, resource: str, channel_id: str | None, other_id: str | None) -> tuple[str, str]:
    """Ids for both legs of a new pair, or for one: 500 where nobody can be called, 409 for an id that is in use."""
    if technology.lower() != "local":
        phone = find_endpoint(stasis, technology, resource)
        if not (phone and phone.is_registered):
            stasis.hint("the telephone %s is not registered" % phone.id if phone else
                        "there is no endpoint %s/...: Local/EXTEN@stasis-APP rings in the application APP, and with --control "
                        "there are telephones: PUT /control/phones/%s/NAME" % (technology, technology))
            raise allocation_failed()
        require_room(stasis.channels)
        require(not (channel_id and stasis.find_channel(channel_id)), 409, "Channel with given unique ID already exists")
        return channel_id or stasis.unique_id(), ""
    require_room(stasis.channels)
    if not channel_id:
        return stasis.unique_id(), stasis.unique_id()
    other_id = other_id or channel_id + ";2"
    taken = stasis.find_channel(channel_id) or stasis.find_channel(other_id) or channel_id.lower() == other_id.lower()
    require(not taken, 409, "Channel with given unique ID already exists")
    return channel_id, other_id

def asked_priority(stasis: Stasis, context: str, exten: str, label: str) -> int:
    """The priority that a label stands for: 404 where it is none, and no number either; 400 for 0."""
    priority = existing(labelled_priority(stasis, context, exten, label), "Requested label can not be found")
    require(priority != 0, 400, "Requested priority is illegal")
    return priority

@operation("GET /channels", returns="List[Channel]")
def channel_list(stasis):
    """List the channels. 200 with each as it was last published."""
    return [channel.published for channel in stasis.channels.values()]

@operation("POST /channels/create", returns="Channel", errors="409")
def channel_create(stasis, endpoint=Text.needed(), app=Text.needed(), app_args=Text, channel_id=Text, other_channel_id=Text,
                   originator=Text, formats=Text, variables=Variables):
    """Make a channel without dialling. 200 with the near leg before it enters `app`. Events: those of the variables,
    ChannelDialplan, ChannelVarset STASISSTATUS, StasisStart."""
    require(not (originator and formats), 400, "Originator and formats can't both be specified")
    require(bool(endpoint), 400, "Endpoint must be specified")
    technology, resource = endpoint_parts(endpoint)
    check_formats(formats)
    ids = leg_ids(stasis, technology, resource, channel_id, other_channel_id)
    require_utf8(resource, app, app_args, variables, ids)
    near = new_near_leg(stasis, technology, resource, ids)
    return create(near, app or "", app_args, stasis.find_channel(originator or ""), variables)

@operation("GET /channels/{channelId}", returns="Channel", errors="404")
def channel_get(channel=one_of("channels", "Channel not found")):
    """Show a channel. 200 with it as it was last published."""
    return channel.published

@operation("POST /channels", "POST /channels/{channelId}", returns="Channel", errors="400 409")
def channel_originate(stasis, endpoint=Text.needed(), extension=Text, context=Text, priority=Long, label=Text, app=Text,
                      app_args=Text, caller_id=Text, timeout=Number(CALL_SECONDS), variables=Variables, channel_id=Text,
                      other_channel_id=Text, originator=Text, formats=Text):
    """Call somebody. 200 with the near leg before it is dialled. Events, to an active `app`: Dial, then those of the far leg;
    to followers of all channels first ChannelCreated twice."""
    check_id_length(channel_id, other_channel_id)
    require(bool(endpoint), 400, "Endpoint must be specified")
    require(not (originator and formats), 400, "Originator and formats can't both be specified")
    technology, resource = endpoint_parts(endpoint)
    require(bool(app or extension), 400, "Application or extension must be specified")
    context = context or "default"
    place = None if app else Place(
        context, extension, asked_priority(stasis, context, extension, label) if label else priority or 1)
    parent = stasis.find_channel(originator or "")
    require(parent is not None or not originator, 400, "Provided originator channel was not found")
    check_formats(formats)
    ids = leg_ids(stasis, technology, resource, channel_id, other_channel_id)
    require_utf8(resource, app, app_args, caller_id, variables, ids, place)
    limit = None if timeout == -1 else timeout if timeout > 0 else CALL_SECONDS
    near = new_near_leg(stasis, technology, resource, ids)
    return originate(near, caller_id, parent, variables, app, app_args, place, limit)

@operation("DELETE /channels/{channelId}", errors="400 404")
def channel_hangup(channel=any_channel, reason=Text("normal", allowed=tuple(HANGUP_REASONS), keys=[
        "defalutValue" if key == "defaultValue" else key for key in USUAL_KEYS])):      # Asterisk: so misspelt (channels.json)
    """Hang up. Events of both legs: ChannelHangupRequest, what they leave, ChannelDestroyed."""
    require((reason or "normal") in HANGUP_REASONS, 400, "Invalid reason for hangup provided", "Invalid Reason")
    channel.hang_up(HANGUP_REASONS[reason or "normal"])

@operation("POST /channels/{channelId}/continue", errors="404 409 412")
def channel_continue_in_dialplan(stasis, channel=answerable, context=Text, extension=Text, priority=Number, label=Text):
    """Leave the application for the dialplan. Events: StasisEnd, then those of the place."""
    stay, here = channel.stay, channel.place
    exten = extension or ("s" if context else here.exten)
    priority = asked_priority(stasis, context or here.context, exten, label) if label else priority
    require_utf8(context, extension)
    place = Place(context or here.context, exten, priority or (1 if context or extension else here.priority + 1))
    stay.queue.do(lambda: stay.continue_at(place))

@operation("POST /channels/{channelId}/move", errors=["404", "409"])    # Asterisk: described as text (channels.json)
def channel_move(channel=controlled, app=Text.needed(), app_args=Text):
    """Hand the channel to another application. Events: StasisEnd and StasisStart, or ApplicationMoveFailed."""
    require(app is not None, 400, "Application name is required")       # departure 5: there it crashes
    require_utf8(app, app_args)
    args = [item for item in (app_args or "").split(",") if item]
    stay = channel.stay
    stay.queue.do(lambda: stay.move(app, args))

@operation("POST /channels/{channelId}/redirect", errors="400 404 409 422 412")
def channel_redirect(channel=answerable, endpoint=Text.needed()):
    """Send the caller to another endpoint. A Local channel accepts it, and nothing happens."""
    require(bool(endpoint), 400, "Required parameter 'endpoint' not provided.", "Not Found")   # Asterisk: so (resource_channels.c)
    technology, slash, resource = endpoint.partition("/")
    require(bool(technology and slash), 422, "Endpoint parameter '%s' does not contain tech/resource" % endpoint)
    require(bool(resource), 422, "No resource provided in endpoint parameter '%s'" % endpoint)
    own = channel.name.partition("/")[0]
    require(own.lower().startswith(technology.lower()), 422,
            "Endpoint technology '%s' does not match channel technology '%s'" % (technology, own))
    if channel.phone and channel.state == "Ring":
        channel.announce_hangup(NORMAL_CLEARING, False)
        channel.end(NORMAL_CLEARING)

@operation("POST /channels/{channelId}/answer", errors="404 409 412")
def channel_answer(channel=answerable):
    """Answer. Events on a far leg that rings: ChannelStateChange of both legs, Dial ANSWER."""
    channel.queue.do(channel.answer)

@operation("POST /channels/{channelId}/ring", "DELETE /channels/{channelId}/ring", errors="404 409 412")
def channel_ring_or_ring_stop(is_on, channel=answerable):
    """Let it ring, or stop. Events of a ring on an unanswered far leg: ChannelStateChange of the near one, once, Dial RINGING."""
    if is_on:
        channel.queue.do(channel.ring)

@operation("POST /channels/{channelId}/dtmf", errors="400 404 409 412")
def channel_send_dtmf(channel=answerable, dtmf=Text, before=Number(0), between=Number(100), duration=Number(100), after=Number(0)):
    """Send digits one by one. Events: Dial PROGRESS on an unanswered far leg; on the other leg ChannelDtmfReceived of each."""
    require(bool(dtmf), 400, "DTMF is required")
    channel.queue.add(Digits(channel, dtmf, before, between, duration, after))

@operation("POST /channels/{channelId}/mute", "DELETE /channels/{channelId}/mute", errors="404 409 412")
def channel_mute_or_unmute(is_on, channel=answerable, direction=Text("both", allowed=tuple(DIRECTIONS))):
    """Mute, or mute no more. Events in a bridge, of the first direction or the last: BRIDGEPEER of all members."""
    require(bool(direction), 400, "Direction is required")
    require(direction in DIRECTIONS, 400, "Invalid direction specified")
    channel.queue.do(lambda: channel.set_muted(DIRECTIONS[direction], is_on))

@operation("POST /channels/{channelId}/hold", "DELETE /channels/{channelId}/hold", errors="404 409 412")
def channel_hold_or_unhold(is_on, channel=answerable):
    """Hold, or hold no more. Event of a telephone: DeviceStateChanged; a Local channel accepts it, and nothing happens."""
    if channel.phone:
        channel.phone.is_held_here = is_on
        channel.phone.reckon()

@operation("POST /channels/{channelId}/moh", errors="404 409 412")
def channel_start_moh(channel=answerable, moh_class=Text):
    """Play music on hold. Event on an unanswered far leg: Dial PROGRESS. Not Asterisk: no music is sent."""
    channel.queue.do(channel.progress)

@operation("DELETE /channels/{channelId}/moh", errors="404 409 412")
def channel_stop_moh(channel=answerable):
    """Play music on hold no more."""

@operation("POST /channels/{channelId}/silence", "DELETE /channels/{channelId}/silence", errors="404 409 412")
def channel_start_silence_or_stop_silence(is_on, channel=answerable):
    """Send silence, which the other leg hears as audio, or none. Event on an unanswered far leg, at a start: Dial PROGRESS."""
    channel.queue.do(lambda: channel.set_silence(is_on))

def queued(task: Playback | LiveRecording, queue: TaskQueue) -> Response:
    """Queue a playback or recording; 201 with it as it is before its turn."""
    if task.is_recording:
        location = "/ari/recordings/live/" + urllib.parse.quote(task.name, safe="-_.!~*'()")
    else:
        location = "/ari/playbacks/" + CONTROL.sub(lambda match: "%%%02X" % ord(match.group()), task.id)    # departure 4
    response = Response(201, task.to_json(), headers=(("Location", location),))
    queue.add(task)
    return response

@operation("POST /channels/{channelId}/play", "POST /channels/{channelId}/play/{playbackId}", returns="Playback",
           errors="404 409 412")
def channel_play(channel=answerable, media=List.needed(), lang=Text, offsetms=Number, skipms=Number(DEFAULT_SKIP_MS),
                 playback_id=Text):
    """Play media to the channel. 201 with the queued playback. Events: Dial PROGRESS on an unanswered far leg; PlaybackStarted
    of each medium with PlaybackContinuing between them, PlaybackFinished."""
    require(skipms >= 0, 400, "skipms cannot be negative")
    require(offsetms >= 0, 400, "offsetms cannot be negative")
    require(bool(media) and all(media), 500, "Failed to queue media for playback")
    require_utf8(media, lang, playback_id)
    return queued(Playback(channel, playback_id, media, lang or channel.language, offsetms, skipms), channel.queue)

def check_recording(terminate_on: str | None, if_exists: str | None, recording_format: str | None) -> tuple[str, str]:
    """(digits that end it; fail, overwrite or append): 400, then 422."""
    digits, policy = TERMINATORS.get((terminate_on or "none").lower()), (if_exists or "fail").lower()
    require(digits is not None, 400, "terminateOn invalid")
    require(policy in IfExists.allowed, 400, "ifExists invalid")
    require(recording_format in FORMATS, 422, "specified format is unknown on this system")
    return digits, policy

def check_recording_name(stasis: Stasis, name: str | None, policy: str) -> None:
    """500 for a name that cannot be one, 409 for one that is recorded to, or was and must not be."""
    require(bool(name and file_name(name)), 500, "Error parsing request")
    taken = file_name(name) in stasis.live_recordings or policy == "fail" and stasis.recordings.get(name) is not None
    require(not taken, 409, "Recording '%s' already exists and can not be overwritten" % name)
    require_room(stasis.live_recordings, stasis.recordings.lengths)
    require_utf8(name)

@operation("POST /channels/{channelId}/record", returns="LiveRecording", errors="400 404 409 422")
def channel_record(stasis, channel_id, name=Text.needed(), format=Text.needed(), max_duration_seconds=Limit,
                   max_silence_seconds=Limit, if_exists=IfExists, beep=Flag(False), terminate_on=TerminateOn):
    """Record the channel. 201 with the queued recording. Events: those of an answer where there was none; RecordingStarted,
    then RecordingFinished; of a channel in a bridge RecordingFailed alone."""
    # Asterisk: the numbers are checked before the channel (ast_ari_channels_record).
    require(max_duration_seconds >= 0, 400, "max_duration_seconds cannot be negative")
    require(max_silence_seconds >= 0, 400, "max_silence_seconds cannot be negative")
    channel = controlled(stasis, channel_id)
    digits, policy = check_recording(terminate_on, if_exists, format)
    check_recording_name(stasis, name, policy)
    recording = LiveRecording(channel, name, format, max_duration_seconds, max_silence_seconds, policy, digits, beep)
    return queued(recording, channel.queue)

@operation("GET /channels/{channelId}/variable", returns="Variable", errors="400 404 409")
def channel_get_channel_var(stasis, channel=provided, variable=VariableName):
    """Read a variable or function of the channel."""
    if variable.endswith(")"):
        return {"value": existing(channel.read_function(variable), "Unable to read provided function", 500, "Error With Function")}
    return {"value": existing(channel.read_variable(variable), "Provided variable was not found", phrase="Variable Not Found")}

@operation("POST /channels/{channelId}/variable", errors="400 404 409")
def channel_set_channel_var(channel=controlled, variable=VariableName, value=Text):
    """Set a variable or function of the channel. Event: ChannelVarset, or what the function changes."""
    require_room(channel.variables if value is not None else ())
    require_utf8(variable, value)
    channel.queue.do(lambda: channel.set_variable(variable, value))

@operation("POST /channels/{channelId}/snoop", "POST /channels/{channelId}/snoop/{snoopId}", returns="Channel", errors="400 404")
def channel_snoop_channel(stasis, channel_id, spy=SnoopSide, whisper=SnoopSide, app=Text.needed(), app_args=Text, snoop_id=Text):
    """Listen and speak into a channel. 200 with the Snoop. Events: BRIDGEPEER of all members of its bridge; StasisStart."""
    spied, whispered = spy or "none", whisper or "none"
    require(spied in SnoopSide.allowed, 400, "Invalid direction specified for spy")
    require(whispered in SnoopSide.allowed, 400, "Invalid direction specified for whisper")
    require({spied, whispered} != {"none"}, 400, "Direction must be specified for at least spy or whisper")
    require(bool(app), 400, "Application name is required")
    target = provided(stasis, channel_id)                               # after all parameters
    require_room(stasis.channels)
    require_utf8(app, app_args, snoop_id)
    snoop = snoop_on(target, snoop_id, DIRECTIONS.get(spied, set()), DIRECTIONS.get(whispered, set()), app, app_args)
    return existing(snoop, "Snoop channel could not be created", 500, "Internal error")

@operation("POST /channels/{channelId}/dial", errors="404 409")
def channel_dial(stasis, channel=controlled, caller=Text, timeout=Limit):
    """Dial a created channel. Events: Dial of the near leg, then those of the far one."""
    require(channel.state == "Down" and not channel.is_dialled, 409, "Channel is not in the 'Down' state")      # departure 5: once
    require(not channel.is_originated, 409, "Dialing a channel not created by ARI")
    parent = stasis.find_channel(caller or "")
    channel.queue.do(lambda: dial(channel, parent, timeout))

@operation("GET /channels/{channelId}/rtp_statistics", returns="RTPstat", errors="404")
def channel_rtpstatistics(stasis, channel=any_channel):
    """Tell how RTP fares. 404 before there are media, 403 of a channel that has none. Not Asterisk: nothing is lost or late."""
    require(channel.phone is not None, 403, "Unsupported channel type")
    existing(channel.phone.media_since, "RTP info not found")
    sides = [side + what for side in ("remote_", "local_") for what in ("max", "min", "normdev", "stdev")]
    heard, said = channel.phone.heard, int((stasis.now - channel.phone.media_since) / FRAME_SECONDS)
    return {"txcount": heard, "rxcount": said, "txploss": 0, "rxploss": 0, "local_ssrc": hash((channel.id, 0)) % 2**32,
            "remote_ssrc": hash((channel.id, 1)) % 2**32, "txoctetcount": heard * FRAME_BYTES, "rxoctetcount": said * FRAME_BYTES,
            "channel_uniqueid": channel.id, "txjitter": 0.0, "rxjitter": 0.0,
            **{side + "jitter": 0.0 for side in sides}, **{side + "rxploss": 0.0 for side in sides},
            **dict.fromkeys(("rtt", "maxrtt", "minrtt", "normdevrtt", "stdevrtt"), 0.0)}

@operation("POST /channels/externalMedia", returns="Channel", errors="400 409")
def channel_external_media(stasis, channel_id=Text, app=Text.needed("app cannot be empty"), variables=Variables,
                           external_host=Text.needed("external_host cannot be empty"), encapsulation=Text("rtp", allowed=("rtp",)),
                           transport=Text("udp", allowed=("udp",)), connection_type=Text("client", allowed=("client",)),
                           format=Text.needed(), direction=Text("both", allowed=("both",))):
    """Exchange media with another program. 200 with a UnicastRTP channel and all its variables. Events: Dial,
    ChannelStateChange, Dial ANSWER, ChannelVarset STASISSTATUS, StasisStart."""
    require(":" in external_host, 400, "external_host must be <host>:<port>")
    require(bool(format), 400, "format cannot be empty")
    require((encapsulation or "rtp").lower() == "rtp" and (transport or "udp").lower() == "udp", 501,
            "The encapsulation and/or transport is not supported")
    check_id_length(channel_id)
    check_formats(format)
    def check(stasis: Stasis) -> None:
        require(not (channel_id and stasis.find_channel(channel_id)), 409, "Channel with given unique ID already exists")
        require_room(stasis.channels)
        require_utf8(channel_id, app, external_host, variables)
    def then(stasis: Stasis, line: RtpLine) -> dict:
        check(stasis)
        return external_media(stasis, channel_id, external_host, line, app, variables)
    if not is_utf8(external_host):
        check(stasis)
    return Later(lambda server: server.rtp.open(external_host, format.partition(",")[0].strip().lower()), then, allocation_failed(),
                 is_file=False)

# --- 8.4 /bridges
RESOURCES["bridges"] = Resource("Bridges.", """
~Bridge (A bridge and who is in it.): id!, technology!, bridge_type!=mixing|holding, bridge_class!, creator!, name!,
    channels!:List[string], video_mode?, video_source_id?, creationtime!:Date
""", modules="res_stasis_recording res_stasis_playback")
found_bridge = one_of("bridges", "Bridge not found", "Not found")       # Asterisk: with a small f, but for GET (find_bridge)

def listed_channels(stasis: Stasis, ids) -> list[Channel]:
    """The channels of a list; empty items are skipped, and the first bad one decides: 400, 422."""
    wanted = [channel_id for channel_id in ids if channel_id]
    require(bool(wanted), 400, "Missing parameter channel")
    for channel_id in wanted:
        channel = existing(stasis.channels.get(channel_id), "Channel not found", 400)
        existing(channel.application, "Channel not in Stasis application", 422)
    return [stasis.channels[channel_id] for channel_id in wanted]

@operation("GET /bridges", returns="List[Bridge]")
def bridge_list(stasis):
    """List the bridges. 200 with each as it was last published."""
    return [bridge.published for bridge in stasis.bridges.values()]

@operation("POST /bridges", "POST /bridges/{bridgeId}", returns="Bridge", path_first=False)
def bridge_create(stasis, type=Text, bridge_id=Text, name=Text):
    """Make a bridge. 200 with it; without a body when it is there already. Event: BridgeCreated, to followers of all bridges."""
    bridge = stasis.bridges.get(bridge_id) if bridge_id else None       # departure 11: on either path, never two of one id
    if bridge:
        require(not name or name == bridge.name, 500, "Changing bridge name is not implemented", "Internal Error")
        require(not type, 500, "Supplying a bridge type when updating a bridge is not allowed.", "Internal Error")
        return Response(200)
    kinds = {word.strip() for word in (type or "mixing").split(",")}
    is_sfu = "video_sfu" in kinds
    require(is_sfu or ("mixing" in kinds) != ("holding" in kinds), 500, "Unable to create bridge", "Internal Error")
    require_room(stasis.bridges)
    require_utf8(bridge_id, name)
    video_mode = "sfu" if is_sfu else "single" if "video_single" in kinds else "talker"
    return Bridge(stasis, bridge_id or stasis.new_id(), name or "", "holding" in kinds and not is_sfu, video_mode,
                  allows_native=not kinds & {"dtmf_events", "proxy_media"}).published

@operation("GET /bridges/{bridgeId}", returns="Bridge", errors="404")
def bridge_get(bridge=one_of("bridges", "Bridge not found")):
    """Show a bridge. 200 with it as it was last published."""
    return bridge.published

@operation("DELETE /bridges/{bridgeId}", errors="404")
def bridge_destroy(bridge=found_bridge):
    """End a bridge. Its channels stay in their applications. Events: ChannelLeftBridge of each, BridgeDestroyed."""
    bridge.end()

@operation("POST /bridges/{bridgeId}/addChannel", errors="400 404 409 422")
def bridge_add_channel(stasis, bridge=found_bridge, channel=List.needed(), role=Text, absorb_dtmf=Flag(False), mute=Flag(False)):
    """Add channels. Events of each, up to a refused one: ChannelLeftBridge elsewhere, ChannelEnteredBridge, BRIDGEPEER of all."""
    for joining in listed_channels(stasis, channel):                    # departure 10: at once, behind no playback
        existing(joining.queue, "Channel not in Stasis application", 422)      # those before it may have ended its stay
        require(not joining.queue.has_recording(), 409, "Channel %s currently recording" % joining.id)
        bridge.add(joining, absorb_dtmf, role == "announcer")

@operation("POST /bridges/{bridgeId}/removeChannel", errors="400 404 409 422")
def bridge_remove_channel(stasis, bridge=found_bridge, channel=List.needed()):
    """Remove channels. All of them or none. Events of each: its BRIDGEPEER, ChannelLeftBridge, BRIDGEPEER of who stays."""
    leaving = listed_channels(stasis, channel)
    require(all(member.bridge is bridge for member in leaving), 422, "Channel not in this bridge")
    for member in dict.fromkeys(leaving):               # one may be named twice
        bridge.remove(member)

@operation("POST /bridges/{bridgeId}/videoSource/{channelId}", errors="404 409 422")
def bridge_set_video_source(stasis, bridge=found_bridge, channel_id=Text):
    """Fix the source of video. Event: BridgeVideoSourceChanged when it is another one."""
    channel, = listed_channels(stasis, [channel_id])                    # refused as in a list of one
    require(channel.bridge is bridge, 422, "Channel not in this bridge")
    bridge.set_video_source(channel)

@operation("DELETE /bridges/{bridgeId}/videoSource", errors="404")
def bridge_clear_video_source(bridge=found_bridge):
    """Let video follow the talker. Event, when the bridge is next published: BridgeVideoSourceChanged."""
    bridge.clear_video_source()

@operation("POST /bridges/{bridgeId}/moh", errors="404 409")
def bridge_start_moh(bridge=found_bridge, moh_class=Text):
    """Play music on hold to the bridge. Events, as music joins the first time: BRIDGEPEER of all members."""
    bridge.start_music()

@operation("DELETE /bridges/{bridgeId}/moh", errors="404 409")
def bridge_stop_moh(bridge=found_bridge):
    """Play music on hold to the bridge no more. Events, as music leaves: BRIDGEPEER of all members."""
    require(bridge.music in bridge.members, 409, "Bridge isn't playing music")
    bridge.stop_music()

@operation("POST /bridges/{bridgeId}/play", "POST /bridges/{bridgeId}/play/{playbackId}", returns="Playback", errors="404 409")
def bridge_play(bridge=found_bridge, media=List.needed(), lang=Text, offsetms=Number(0, least=0),
                skipms=Number(DEFAULT_SKIP_MS, least=0), playback_id=Text):
    """Play media to the bridge. 201 with the queued playback. Events: BRIDGEPEER of all members, then as to a channel."""
    is_good = skipms >= 0 and offsetms >= 0 and bool(media) and all(media)
    if is_good:
        require_room(bridge.announcer.queue.waiting if bridge.announcer else ())
        require_utf8(media, lang, playback_id)
    queue = bridge.join_announcer().queue       # Asterisk: before anything else is looked at (prepare_bridge_media_channel)
    if not is_good:
        queue.run()                     # nothing is in it: the announcer leaves
        raise allocation_failed()
    return queued(Playback(bridge, playback_id, media, lang or "en", offsetms, skipms), queue)

@operation("POST /bridges/{bridgeId}/record", returns="LiveRecording", errors="400 404 409 422")
def bridge_record(stasis, bridge=found_bridge, name=Text.needed(), format=Text.needed(), max_duration_seconds=Limit,
                  max_silence_seconds=Limit, if_exists=IfExists, beep=Flag(False), terminate_on=TerminateOn):
    """Record the bridge. 201 with the queued recording. Events: BRIDGEPEER, RecordingStarted, RecordingFinished, BRIDGEPEER."""
    # Asterisk: the recorder joins before anything is checked, and leaves after a refusal (ast_ari_bridges_record).
    recorder = Internal(bridge, "Recorder/ARI")
    try:
        digits, policy = check_recording(terminate_on, if_exists, format)
        require(max_duration_seconds >= 0 and max_silence_seconds >= 0, 500, "Error parsing request")
        check_recording_name(stasis, name, policy)
    except AriError:
        recorder.leave()
        raise
    recording = LiveRecording(bridge, name, format, max_duration_seconds, max_silence_seconds, policy, digits, beep)
    return queued(recording, recorder.queue)

# --- 8.5 /recordings
RESOURCES["recordings"] = Resource("Recordings, live and stored.", """
StoredRecording (A recording on file.): name!, format!
LiveRecording (A recording in the making.): name!, format!, target_uri!, state!=queued|recording|paused|done|failed|canceled,
    duration?:int, talking_duration?:int, silence_duration?:int, cause?
""", modules="res_stasis_recording")
live_recording = one_of("live_recordings", "Recording not found", key=file_name)

def stored_recording(stasis: Stasis, name: str) -> dict:
    """A stored recording by the name of its file: 404, also for a name that leads out."""
    suffix, _ = existing(stasis.recordings.get(name), "Recording not found")
    return {"name": file_name(name), "format": suffix}

@operation("GET /recordings/stored", returns="List[StoredRecording]")
def recording_list_stored(stasis):
    """List the stored recordings."""
    return [stored_recording(stasis, name) for name in sorted(stasis.recordings.lengths, key=encode)]

@operation("GET /recordings/stored/{recordingName}", returns="StoredRecording", errors="404")
def recording_get_stored(recording=stored_recording):
    """Show a stored recording."""
    return recording

@operation("DELETE /recordings/stored/{recordingName}", errors="404")
def recording_delete_stored(stasis, recording=stored_recording):
    """Delete a stored recording."""
    name = recording["name"]
    files = stasis.recordings.forget(name)
    return Later(lambda server: server.files.remove(name, *files), lambda stasis, result: None,
                 AriError(500, "Delete failed"), changes=name)

@operation("GET /recordings/stored/{recordingName}/file", returns="binary", errors="403 404")
def recording_get_stored_file(stasis, recording=stored_recording):
    """Download a stored recording. 200 with the bytes of its file."""
    name, suffix = recording["name"], recording["format"]
    size, is_open = audio_bytes(suffix, stasis.recordings.lengths[name][suffix]), name in stasis.recordings.being_written
    return Later(lambda server: server.files.content(name, suffix, size, is_open), lambda stasis, result: Response(
        200, content=("Content-Type", "audio/" + suffix, result)), AriError(403, "Recording could not be opened"))

@operation("POST /recordings/stored/{recordingName}/copy", returns="StoredRecording", errors="404 409")
def recording_copy_stored(stasis, recording=stored_recording, destination_recording_name=Text.needed()):
    """Copy a stored recording. 200 with the copy."""
    existing(destination_recording_name, "Invalid destination recording name", 400, "Bad request")
    require(bool(file_name(destination_recording_name)), 403, "Destination file path is forbidden")
    require(stasis.recordings.get(destination_recording_name) is None, 409,
            "A recording with the same name already exists on the system")
    # Asterisk: b.wav must not be there, yet the copy is called b, and replaces a b (stasis_app_stored_recording_copy).
    name, suffix = recording["name"], recording["format"]
    copied = file_name(destination_recording_name.rsplit(".", 1)[0])
    require(bool(copied), 500, "Copy failed")
    require_room(stasis.recordings.lengths)
    require_utf8(copied)
    stasis.recordings.copy(name, suffix, copied)
    shown = stored_recording(stasis, copied)
    def then(stasis: Stasis, result) -> dict:
        if suffix not in stasis.recordings.lengths.get(copied, ()):     # deleted before it was there
            stasis.recordings.work.append(("remove", copied, suffix))
        return shown
    return Later(lambda server: server.files.copy(name, copied, suffix), then, AriError(500, "Copy failed"), changes=copied)

@operation("GET /recordings/live/{recordingName}", returns="LiveRecording", errors="404")
def recording_get_live(recording=live_recording):
    """Show a live recording."""
    return recording.to_json()

@operation("DELETE /recordings/live/{recordingName}", errors="404")
def recording_cancel(recording=live_recording):
    """End a recording and discard it. Event: RecordingFinished."""
    recording.stop(deletes=True)

@operation("POST /recordings/live/{recordingName}/stop", errors="404")
def recording_stop(recording=live_recording):
    """End a recording and keep it. Event: RecordingFinished."""
    recording.stop()

@operation("POST /recordings/live/{recordingName}/pause", "DELETE /recordings/live/{recordingName}/pause", errors="404 409")
def recording_pause_or_unpause(is_on, recording=live_recording):
    """Pause a recording, or let it go on."""
    recording.pause(is_on)

@operation("POST /recordings/live/{recordingName}/mute", "DELETE /recordings/live/{recordingName}/mute", errors="404 409")
def recording_mute_or_unmute(is_on, recording=live_recording):
    """Record silence, or what is heard."""
    recording.mute(is_on)

# --- 8.6 /sounds
RESOURCES["sounds"] = Resource("Sounds.", """
FormatLangPair (A format in which a sound exists in a language.): language!, format!
Sound (A sound that can be played.): id!, text?, formats!:List[FormatLangPair]
""")
SoundFilter = Text(keys=["name", "description", "paramType", "dataType", "required"])   # Asterisk: nothing else (sounds.json)

def sounds_json(stasis: Stasis, lang: str | None, wanted_format: str | None) -> dict[str, dict]:
    """{id: sound} of the sounds that pass both filters, with the formats that do."""
    found: dict[str, dict] = {}
    for name, language, codec in stasis.sounds.listed():
        if lang in (None, "", language) and wanted_format in (None, "", codec):
            sound = found.setdefault(name, {"id": name})
            if name in stasis.sounds.texts:
                sound["text"] = stasis.sounds.texts[name]
            sound.setdefault("formats", []).append({"language": language, "format": codec})
    return found

@operation("GET /sounds", returns="List[Sound]")
def sound_list(stasis, lang=SoundFilter, format=SoundFilter):
    """List the sounds. 404 where there is none."""
    found = sounds_json(stasis, lang, format)
    require(bool(found), 404, "No sounds found that matched the query")
    return list(found.values())

@operation("GET /sounds/{soundId}", returns="Sound")
def sound_get(stasis, sound_id):
    """Show a sound."""
    return existing(sounds_json(stasis, None, None).get(sound_id), "Sound not found")

# --- 8.7 /playbacks
RESOURCES["playbacks"] = Resource("Playbacks.", """
~Playback (Media in play.): id!, media_uri!, next_media_uri?, target_uri!, language, state!=queued|playing|continuing|done|failed
""", modules="res_stasis_playback")
def known_playback(stasis: Stasis, playback_id: str) -> Playback:
    """The oldest playback of that id: 404."""
    return existing(stasis.playbacks.get(playback_id), "Playback not found")[0]

@operation("GET /playbacks/{playbackId}", returns="Playback", errors="404")
def playback_get(playback=known_playback):
    """Show a playback."""
    return playback.to_json()

@operation("DELETE /playbacks/{playbackId}", errors="404")
def playback_stop(playback=known_playback):
    """End a playback. Event: PlaybackFinished, of one that waits in its turn."""
    playback.stop()

@operation("POST /playbacks/{playbackId}/control", errors="400 404 409")
def playback_control(stasis, playback_id, operation_=Text.needed(allowed=PLAYBACK_OPERATIONS)):
    """Pause, wind, or start again. Event of an unpause: PlaybackStarted."""
    existing(operation_, "Missing operation", 400)                      # before the playback is looked for
    require(operation_ in PLAYBACK_OPERATIONS, 400, "Invalid operation %s" % operation_)
    known_playback(stasis, playback_id).control(operation_)

# --- 8.8 /deviceStates
RESOURCES["deviceStates"] = Resource("Device states.", """
~DeviceState (The state of a device.): name!, state!=%s
""" % "|".join(DEVICE_STATES), modules="res_stasis_device_state")
STATES_TO_SET = DEVICE_STATES[1:]       # all but UNKNOWN

def stasis_device(stasis: Stasis, device_name: str) -> str:
    """The name behind "Stasis:" in any case: 409 for a device that is none, 404 for no name."""
    prefix, colon, name = device_name.partition(":")
    require(prefix.lower() == "stasis" and bool(colon), 409, "Uncontrolled device specified")
    require(bool(name), 404, "Device name is missing")
    return name

@operation("GET /deviceStates", returns="List[DeviceState]")
def device_list(stasis):
    """List the device states that were set here."""
    return [{"name": "Stasis:" + name, "state": stasis.device_states[name]} for name in sorted(stasis.device_states, key=encode)]

@operation("GET /deviceStates/{deviceName}", returns="DeviceState")
def device_get(stasis, device_name):
    """Show a device state. 200 for any name."""
    require(is_utf8(device_name), 500, "Error building response")       # departure 3: what cannot be shown
    return {"name": device_name, "state": device_state(stasis, device_name)}

@operation("PUT /deviceStates/{deviceName}", errors="404 409")
def device_update(stasis, device=stasis_device, device_state_=Text.needed(allowed=STATES_TO_SET)):
    """Set a device state. Event: DeviceStateChanged when it is another one."""
    require((device_state_ or "").upper() in STATES_TO_SET, 500, "Unknown device")
    require_room(stasis.known_devices)
    require_utf8(device)
    set_device_state(stasis, device, device_state_.upper())

@operation("DELETE /deviceStates/{deviceName}", errors="404 409")
def device_delete(stasis, device_name):
    """Forget a device state. Event: DeviceStateChanged to UNKNOWN, if the device ever had a state."""
    name = stasis_device(stasis, device_name)
    if device_name.startswith("Stasis:"):           # Asterisk: else a 204 without effect (stasis_app_device_state_delete)
        delete_device_state(stasis, name)

# --- 8.9 /mailboxes
RESOURCES["mailboxes"] = Resource("Mailboxes.", """
~Mailbox (A mailbox and its messages.): name!, old_messages!:int, new_messages!:int
""", modules="res_stasis_mailbox")

def mailbox_json(name: str, mailbox: Mailbox) -> dict:
    return {"name": name, "old_messages": mailbox.old_messages, "new_messages": mailbox.new_messages}

@operation("GET /mailboxes", returns="List[Mailbox]")
def mailbox_list(stasis):
    """List the mailboxes."""
    return [mailbox_json(name, stasis.mailboxes[name]) for name in sorted(stasis.mailboxes, key=encode)]

@operation("GET /mailboxes/{mailboxName}", returns="Mailbox", errors="404")
def mailbox_get(stasis, mailbox_name):
    """Show a mailbox."""
    mailbox = existing(stasis.mailboxes.get(mailbox_name), "Mailbox is does not exist")         # Asterisk: so worded
    return mailbox_json(mailbox_name, mailbox)

@operation("PUT /mailboxes/{mailboxName}", errors="404")
def mailbox_update(stasis, mailbox_name, old_messages=Number.needed(), new_messages=Number.needed()):
    """Make or change a mailbox. Event: DeviceStateChanged of its MWI device, if the mailbox is new or that is another state."""
    require_room(stasis.known_mailboxes)
    require_utf8(mailbox_name)
    set_mailbox(stasis, mailbox_name, Mailbox(old_messages, new_messages))

@operation("DELETE /mailboxes/{mailboxName}", errors="404")
def mailbox_delete(stasis, mailbox_name):
    """Delete a mailbox. Event: DeviceStateChanged of its MWI device when that was in use."""
    existing(stasis.mailboxes.get(mailbox_name), "Mailbox does not exist")
    set_mailbox(stasis, mailbox_name, None)

# --- 8.10 /events
RESOURCES["events"] = Resource("The event socket, and events of one's own.", """
~Message (Base of all that comes over the event socket.): *discriminator=type, type!, asterisk_id?, *subTypes=MissingParams|Event
MissingParams (Parameters were missing.): params!:List[string]
~Event (Base of all events.): application!, timestamp!:Date, *subTypes=DeviceStateChanged|PlaybackStarted|PlaybackContinuing|
    PlaybackFinished|RecordingStarted|RecordingFinished|RecordingFailed|ApplicationMoveFailed|ApplicationReplaced|BridgeCreated|
    BridgeDestroyed|BridgeMerged|BridgeBlindTransfer|BridgeAttendedTransfer|BridgeVideoSourceChanged|ChannelCreated|
    ChannelDestroyed|ChannelEnteredBridge|ChannelLeftBridge|ChannelStateChange|ChannelDtmfReceived|ChannelDialplan|ChannelCallerId|
    ChannelUserevent|ChannelHangupRequest|ChannelVarset|ChannelTalkingStarted|ChannelTalkingFinished|ChannelHold|ChannelUnhold|
    ContactStatusChange|EndpointStateChange|Dial|StasisEnd|StasisStart|TextMessageReceived|ChannelConnectedLine|PeerStatusChange
~ContactInfo (A contact's state.): uri!, contact_status!=Unreachable|Reachable|Unknown|NonQualified|Removed, aor!, roundtrip_usec?
~Peer (A peer and its state.): peer_status!, cause?, address?, port?, time?
~DeviceStateChanged (A device has another state.): device_state!:DeviceState
~PlaybackStarted (A medium begins to play.): playback!:Playback
~PlaybackContinuing (One medium is over, the next follows.): playback!:Playback
~PlaybackFinished (A playback is over.): playback!:Playback
~RecordingStarted (A recording has begun.): recording!:LiveRecording
~RecordingFinished (A recording is complete.): recording!:LiveRecording
~RecordingFailed (A recording came to nothing.): recording!:LiveRecording
ApplicationMoveFailed (A channel could not be moved to another application.): channel!:Channel, destination!, args!:List[string]
ApplicationReplaced (Another socket has taken the application.):
BridgeCreated (A bridge is there.): bridge!:Bridge
BridgeDestroyed (A bridge is gone.): bridge!:Bridge
BridgeMerged (One bridge went into another.): bridge!:Bridge, bridge_from!:Bridge
BridgeVideoSourceChanged (Another channel is the source of video.): bridge!:Bridge, old_video_source_id?
BridgeBlindTransfer (A blind transfer was tried.): channel!:Channel, replace_channel?:Channel, transferee?:Channel, exten!,
    context!, result!, is_external!:boolean, bridge:Bridge
BridgeAttendedTransfer (An attended transfer was tried.): transferer_first_leg!:Channel, transferer_second_leg!:Channel,
    replace_channel?:Channel, transferee?:Channel, transfer_target?:Channel, result!, is_external!:boolean,
    transferer_first_leg_bridge:Bridge, transferer_second_leg_bridge:Bridge, destination_type!, destination_bridge,
    destination_application, destination_link_first_leg:Channel, destination_link_second_leg:Channel,
    destination_threeway_channel:Channel, destination_threeway_bridge:Bridge
ChannelCreated (A channel is there.): channel!:Channel
ChannelDestroyed (A channel is gone.): cause!:int, cause_txt!, channel!:Channel
ChannelEnteredBridge (A channel has joined a bridge.): bridge!:Bridge, channel:Channel
ChannelLeftBridge (A channel has left a bridge.): bridge!:Bridge, channel!:Channel
ChannelStateChange (A channel has another state.): channel!:Channel
ChannelDtmfReceived (A digit has arrived on a channel.): digit!, duration_ms!:int, channel!:Channel
ChannelDialplan (A channel is at another place in the dialplan.): channel!:Channel, dialplan_app!, dialplan_app_data!
ChannelCallerId (The caller of a channel has changed.): caller_presentation!:int, caller_presentation_txt!, channel!:Channel
ChannelUserevent (An event made by a user.): eventname!, channel?:Channel, bridge?:Bridge, endpoint?:Endpoint, userevent!:object
ChannelHangupRequest (Somebody wants a channel to end.): cause:int, soft:boolean, channel!:Channel
ChannelVarset (A variable was set.): variable!, value!, channel?:Channel
ChannelHold (A channel was put on hold.): channel!:Channel, musicclass?
ChannelUnhold (A channel came back from hold.): channel!:Channel
ChannelTalkingStarted (Somebody began to talk.): channel!:Channel
ChannelTalkingFinished (Somebody ceased to talk.): channel!:Channel, duration!:int
ContactStatusChange (A contact came or went.): endpoint!:Endpoint, contact_info!:ContactInfo
PeerStatusChange (A peer has another state.): endpoint!:Endpoint, peer!:Peer
EndpointStateChange (An endpoint has another state.): endpoint!:Endpoint
Dial (Dialling goes on.): caller?:Channel, peer!:Channel, forward?, forwarded?:Channel, dialstring?, dialstatus!
StasisEnd (A channel has left the application.): channel!:Channel
StasisStart (A channel has entered the application.): args!:List[string], channel!:Channel, replace_channel?:Channel
TextMessageReceived (An endpoint has sent a text message.): message!:TextMessage, endpoint?:Endpoint
ChannelConnectedLine (The connected line of a channel has changed.): channel!:Channel
""", modules="res_http_websocket")
Names = List(from_text=split_quoted, from_json=lambda value: split_quoted(value) if isinstance(value, str) else ())
known_application = one_of("applications", "Application not found")

@operation("GET /events", returns="Message")
def event_event_websocket(app=Names.needed(), subscribe_all=Flag):
    """Open the event socket. 101, or a page that says why not. Events: ApplicationReplaced, to who held a name before."""
    if not app:
        raise HttpError(400, "HTTP request is missing param: [app]", close=False)
    if not all(name and is_utf8(name) for name in app):                 # departure 6: before any of them is registered
        raise HttpError(400, "Invalid application provided in param [app].", close=False)
    return Upgrade(app, subscribe_all)

def parse_source(uri: str | None, kinds: dict | tuple) -> tuple[str, str]:
    """(kind, id) of an event source URI: 400; so for one that is no text (departure 5)."""
    kind, colon, name = (uri or "").partition(":")
    require(bool(colon) and kind in kinds, 400, "Invalid event source URI scheme")
    return kind, name

def followed_subject(stasis: Stasis, kind: str, subject_id: str) -> Channel | Bridge | None:
    """The channel, bridge, telephone or technology of an event source."""
    return {"channel": stasis.channels, "bridge": stasis.bridges}.get(
        kind, {**stasis.technologies, **stasis.endpoints}).get(subject_id)

@operation("POST /events/user/{eventName}", errors="404 422 400")
def event_user_event(stasis, event_name, application=Text.needed("Missing parameter application"), source=List,
                     variables=Member(absent={}, keys=USUAL_KEYS)):
    """Send an event of one's own to an application. Event: ChannelUserevent, to that application only."""
    hearer = known_application(stasis, application)
    require(isinstance(variables, dict), 500, "Error processing request")
    shown = {}
    for uri in source:
        kind, subject_id = parse_source(uri, FOLLOWED_KINDS)
        if kind == "endpoint":
            subject = find_endpoint(stasis, *subject_id.partition("/")[::2])
            shown[kind] = existing(subject, "Event source was not found", 422).to_json()
        else:
            shown[kind] = existing(followed_subject(stasis, kind, subject_id), "Event source was not found", 422).published
    require_utf8(event_name)
    stasis.emit([hearer], "ChannelUserevent", eventname=event_name, userevent={**variables, "eventname": event_name},
                **{kind: shown[kind] for kind in FOLLOWED_KINDS if kind in shown})

# --- 8.11 /applications
RESOURCES["applications"] = Resource("Stasis applications.", """
~Application (A Stasis application, what it follows and filters.): name!, channel_ids!:List[string], bridge_ids!:List[string],
    endpoint_ids!:List[string], device_names!:List[string], events_allowed!:List[object], events_disallowed!:List[object]
""")
EventSources = List.needed("Missing parameter eventSource")

@operation("GET /applications", returns="List[Application]")
def application_list(stasis):
    """List the applications."""
    return [stasis.application_json(application) for application in stasis.applications.values()]

@operation("GET /applications/{applicationName}", returns="Application", errors="404")
def application_get(stasis, application=known_application):
    """Show an application."""
    return stasis.application_json(application)

@operation("POST /applications/{applicationName}/subscription", returns="Application", errors="400 404 422")
def application_subscribe(stasis, application=known_application, event_source=EventSources):
    """Follow event sources, an empty id being all of a kind. 200 with the application; those before a bad one stay followed."""
    for uri in event_source:
        subscribe(stasis, application, *parse_source(uri, ALL_TOPICS))
    return stasis.application_json(application)

@operation("DELETE /applications/{applicationName}/subscription", returns="Application", errors="400 404 409 422")
def application_unsubscribe(stasis, application=known_application, event_source=EventSources):
    """Follow event sources no more. 200 with the application; those before a bad one are followed no more."""
    for uri in event_source:
        unsubscribe(stasis, application, *parse_source(uri, ALL_TOPICS))
    return stasis.application_json(application)

def subscribe(stasis: Stasis, application: Application, kind: str, subject_id: str) -> None:
    """Follow one source, or all of a kind: 422 for a channel, bridge or endpoint that is not there."""
    if kind == "deviceState":
        require_room(application.device_names)
        require_utf8(subject_id)
        if ALL_TOPICS[kind] not in application.device_names:
            application.device_names[subject_id or ALL_TOPICS[kind]] = None
    elif not subject_id:
        application.all_of.add(kind)
    else:
        if kind == "endpoint" and not followed_subject(stasis, kind, subject_id):
            stasis.hint("there is no endpoint:%s, so that it cannot be followed" % subject_id)
        subject = stasis.find_channel(subject_id) if kind == "channel" else followed_subject(stasis, kind, subject_id)
        existing(subject, "Event source does not exist", 422).follow(application)

def unsubscribe(stasis: Stasis, application: Application, kind: str, subject_id: str) -> None:
    """Follow one source no more: 422 where it was not followed, 501 for all of a kind, which cannot be undone."""
    follows_all = kind in application.all_of
    if kind == "deviceState":
        known = ALL_TOPICS[kind] in application.device_names or application.device_names.pop(subject_id, ABSENT) is not ABSENT
    elif not subject_id:
        require(not follows_all, 501, "Method not implemented")
        known = False
    elif subject_id == ALL_TOPICS[kind]:                # Asterisk: what stands for "all" is an id (app_unsubscribe)
        known = follows_all
        application.all_of.discard(kind)
    else:
        subject = followed_subject(stasis, kind, subject_id)
        known = subject is not None and subject.unfollow(application)
    require(known, 422, "Event source was not subscribed to")

@operation("PUT /applications/{applicationName}/eventFilter", returns="Application", errors="400 404")
def application_filter(stasis, application=known_application, filter=Document):
    """Choose the types of events to be told. 200 with the application."""
    if filter == {}:                                    # as nothing at all it empties both lists
        filter = []
    if isinstance(filter, list):                        # a list is both
        filter = {"disallowed": filter, "allowed": filter}
    require(isinstance(filter, dict), 400, "Invalid format definition")
    for name in ("disallowed", "allowed"):              # Asterisk: set before the next is checked (app_event_filter_set)
        entries = filter.get(name, getattr(application, name))
        good = isinstance(entries, list) and all(
            isinstance(entry, dict) and isinstance(entry.get("type"), str) and entry["type"] for entry in entries)
        require(good, 400, "Invalid format definition")
        setattr(application, name, entries)
    return stasis.application_json(application)


# === 9. The page ===
# What a browser gets where the server has control, at / and /control: one text, which uses ARI and /control as any client does.
# Its own hashes are all that its Content-Security-Policy lets run, so that no text from ARI can become a script or load anything.

PAGE_PATHS = ("/", "/control", "/control/")
PAGE = r"""<!doctype html>
<html lang="en">
<meta name="viewport" content="width=device-width">
<title>ari_ref</title>
<style>
:root { color-scheme: light dark }
* { overflow-wrap: anywhere }
body { margin: 0 1rem; font: 15px/1.4 system-ui, sans-serif }
header, form, p { display: flex; flex-wrap: wrap; gap: .35rem; align-items: center; margin: .35rem 0 }
main { display: grid; gap: 1.25rem; grid-template-columns: repeat(auto-fit, minmax(min(24rem, 100%), 1fr)) }
h2, h3 { font-size: 1.1rem; margin: .3rem 0 }
article { margin: .5rem 0; padding: .4rem; border: 1px solid #8886 }
button, input, select { font: inherit }
input, select { max-width: 9rem }
[type=number] { width: 4rem }
.end { display: flex; flex-direction: column-reverse; max-height: 80vh; overflow: auto; font-size: 13px }
pre { white-space: pre-wrap }
.asked { color: light-dark(#0550ae, #79b8ff) }
.told { color: light-dark(#1a6b2a, #7ee08f) }
.refused, b { color: light-dark(#b3001b, #ff8a8a) }
</style>
<header>
<label>User:password <input id="account" type="password" value="asterisk:asterisk"></label>
<b id="lost" role="alert"></b><b id="said" role="alert"></b>
</header>
<main>
<div>
<h2>Telephones</h2>
<div id="hint">First add two telephones, tick the box, let one call.</div>
<p><button id="two">Add alice and bob</button>
<label><input id="plays" type="checkbox"> answer for me, as the application demo</label></p>
<div id="phones"></div>
<form id="add"><input name="phone" value="PJSIP/carol" pattern=".+/.+" aria-label="Name"><button>Add</button></form>
<details>
<summary>Break something</summary>
<form id="fault"><label>Answer <input name="path" value="/channels/*/answer"></label>
<label>with <input name="status" type="number" value="500"></label>
<label><input name="times" type="number" min="0" value="1"> times</label><button>Break</button></form>
<p><span id="faults"></span><button id="mend">Mend</button></p>
<form id="clock"><span id="time"></span><label>now <input id="speed" type="number" min="0"></label>
<label>on by <input name="seconds" type="number" min="0" value="30"> s</label><button>Advance</button></form>
<p><button id="reset">Reset</button></p>
</details>
</div>
<div><h2>What is there now</h2><div id="now"></div></div>
<div>
<h2>What happened</h2>
<p id="filter"><select id="kind" aria-label="Type"><option value="">all types</select>
<select id="channel" aria-label="Channel"><option value="">all channels</select><input id="text" placeholder="text">
<label><input id="variables" type="checkbox"> ChannelVarset</label>
<label><input id="pause" type="checkbox"> pause</label><button id="clear">Clear</button></p>
<div class="end"><div id="lines"></div></div>
</div>
</main>
<script>
// All this goes over ARI and /control. The page listens as an application page-..., which hears all and owns nothing.
const $ = id => document.getElementById(id)
const ME = "page-" + Date.now(), isOther = name => !name.startsWith("page-")
const MAX_LINES = 1000, second = () => new Promise(done => setTimeout(done, 1000))
const pathOf = (...names) => names.map(name => "/" + encodeURIComponent(name)).join("")
let state, lookNow = () => {}

// An element; a child that is text becomes text, never markup
function make(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties)
  element.append(...children)
  return element
}

// Do something, say what went wrong, look again
async function attempt(act) {
  $("said").textContent = await act().then(() => "", error => error.message)
  lookNow()
}

const button = (label, act, states) => make("button", {states, onclick: () => attempt(act)}, label)

function onSubmit(id, act) {
  $(id).onsubmit = event => {
    event.preventDefault()
    attempt(() => act(new FormData(event.target)))
  }
}

// --- Requests, with credentials by hand, or the browser asks for a password
async function ask(method, path, query) {
  const url = path + "?" + new URLSearchParams(query), bytes = new TextEncoder().encode($("account").value)
  const headers = {Authorization: "Basic " + btoa(String.fromCharCode(...bytes))}
  const reply = await fetch(url, {method, credentials: "omit", headers}).catch(() => { throw Error("The server is gone.") })
  const value = await reply.json().catch(() => null)
  if (reply.ok) return value
  throw Error(`${method} ${path}: ${reply.status} ${value?.message || value?.error}`)
}

const root = () => location.origin + state.prefix + "/ari"
const ari = (method, path, query) => ask(method, root() + path, query)

function listen(app, subscribeAll, hear) {
  const query = new URLSearchParams({app, subscribeAll, api_key: $("account").value})
  const socket = new WebSocket(root().replace("http", "ws") + "/events?" + query)
  socket.onmessage = message => hear(JSON.parse(message.data))
  return socket
}

// --- The application demo: answers, plays a sound, bridges all callers
const demo = {
  async StasisStart({channel}) {
    await ari("POST", pathOf("channels", channel.id, "answer"))
    await ari("POST", pathOf("channels", channel.id, "play"), {media: "sound:hello-world"})
  },
  async PlaybackFinished({playback}) {
    await ari("POST", "/bridges/demo")
    await ari("POST", "/bridges/demo/addChannel", {channel: playback.target_uri.replace("channel:", "")})
  }
}
let demoSocket

$("plays").onchange = ({target}) => attempt(async () => {
  if (!target.checked) return demoSocket.close()
  target.checked = !state.sockets.some(socket => socket.applications.includes("demo"))
  if (!target.checked) throw Error("Somebody else plays demo.")
  demoSocket = listen("demo", false, event => Object.hasOwn(demo, event.type) && attempt(() => demo[event.type](event)))
  demoSocket.onclose = () => { target.checked = false }
})

// --- Telephones: a card each; its buttons are for calls in some states
const CALLED = ["Down", "Ringing"], MOVES = {ring: CALLED, answer: CALLED, busy: CALLED, reject: CALLED,
  hold: ["Up"], unhold: ["Up"], hangup: [...CALLED, "Ring", "Up"]}
const phonePath = name => "/control/phones" + pathOf(...name.split("/"))
const put = (name, context, callerId = "") => ask("PUT", phonePath(name), {context, callerId})

function makeCard({name, context}) {
  const own = phonePath(name), title = make("h3"), whom = make("input", {value: "700@" + context, ariaLabel: "Extension"})
  const moves = Object.entries(MOVES).map(([action, states]) => button(action, () => ask("POST", own + "/" + action), states))
  const keys = Array.from("123456789*0#", digits => button(digits, () => ask("POST", own + "/digits", {digits}), ["Up"]))
  const others = [button("call it from demo", () => ari("POST", "/channels", {endpoint: name, app: "demo"}), ["none"]),
    button("remove", () => ask("DELETE", own), ["none"])]
  async function call() {
    const [extension, context = ""] = whom.value.split("@")
    const {channel_id} = await ask("POST", own + "/call", {extension, context})
    if (!channel_id) throw Error(`Nobody is at ${whom.value}: is its application on?`)
  }
  function show(phone) {
    const states = phone.calls.length ? phone.calls.map(call => call.state) : ["none"]
    title.textContent = `${name} ${phone.state}, call ${states}`
    for (const one of [...moves, ...keys, ...others]) one.disabled = !states.some(state => one.states.includes(state))
  }
  const rows = [[whom, button("call", call)], moves, keys, others].map(row => make("p", {}, ...row))
  return make("article", {id: name, ariaLabel: name, show}, title, ...rows)
}

function drawPhones(phones) {
  for (const card of [...$("phones").children]) if (!phones.some(phone => phone.name == card.id)) card.remove()
  for (const phone of phones) ($(phone.name) || $("phones").appendChild(makeCard(phone))).show(phone)
}

$("two").onclick = () => attempt(async () => {
  await put("PJSIP/alice", "stasis-demo", "Alice <100>")
  await put("PJSIP/bob", "stasis-demo", "Bob <200>")
})
onSubmit("add", given => put(given.get("phone"), "stasis-demo"))

// --- What is there now: each channel in the first box that wants it
const box = (title, items) => make("article", {}, make("h3", {}, title), ...items.map(item => make("div", {}, ...[item].flat())))

function drawNow({applications, sockets, bridges, channels, playbacks, recordings, deviceStates}) {
  const left = new Set(channels), appOf = ({dialplan}) => dialplan.app_name == "Stasis" && dialplan.app_data.split(",")[0]
  const take = wanted => [...left].filter(wanted).map(channel => {
    left.delete(channel)
    const {id, name, state, dialplan} = channel
    return `${id} ${name} ${state}, in ${appOf(channel) || dialplan.exten + "@" + dialplan.context}`
  })
  const hearer = name => sockets.find(socket => socket.applications.includes(name))?.peer || "nobody"
  const media = [...playbacks, ...recordings].map(({name, media_uri, state, target_uri, seconds, duration}) =>
    [`${media_uri || name} ${state}, ${target_uri} `, make("progress", {value: seconds, max: duration || 60})])
  const boxes = [
    ...bridges.map(bridge =>
      box("Bridge " + (bridge.name || bridge.id), [bridge.bridge_type, ...take(({id}) => bridge.channels.includes(id))])),
    ...applications.map(({name}) => name).filter(isOther).map(name =>
      box("Application " + name, ["heard by " + hearer(name), ...take(channel => appOf(channel) == name)])),
    box("Called or calling", take(({state}) => state != "Up")), box("Elsewhere", take(() => true)),
    box("Media", media), box("Device states", deviceStates.map(({name, state}) => name + " " + state))]
  $("now").replaceChildren(...boxes.filter(one => one.children[1]))
}

onSubmit("fault", given => ask("POST", "/control/faults", given))
onSubmit("clock", given => ask("POST", "/control/clock/advance", given))
$("speed").onchange = ({target: {value: speed}}) =>
  attempt(() => ask("PUT", "/control/clock", speed > 0 ? {mode: "real", speed} : {mode: "manual"}))
$("mend").onclick = () => attempt(() => ask("DELETE", "/control/faults"))
$("reset").onclick = () => attempt(() => ask("POST", "/control/reset", {keepSockets: true}))

// --- What happened: requests, each before its events
let since = {}

const quoted = text => `'${text.replaceAll("'", "'\\''")}'`

function curl({method, target, body}) {
  const data = body && ` ${/^[[{]/.test(body) ? "--json" : "-d"} ${quoted(body)}`
  return `curl -u ${quoted($("account").value)} -X ${method} ${quoted(location.origin + target)}${data}`
}

function makeLine(key, kind, className, time, text, whole, more = "") {
  const shown = make("pre"), line = make("details", {key, kind, className}, make("summary", {}, time.slice(11, 23) + text), shown)
  line.ontoggle = () => { shown.textContent = (more + JSON.stringify(whole, null, 1)).slice(0, 1e5) }
  line.words = text + JSON.stringify(whole)
  return line
}

function requestLine(request) {
  const {number, time, method, path, parameters, status} = request, style = status && status < 400 ? "asked" : "refused"
  const text = ` → ${method} ${path} ${JSON.stringify(parameters)}: ${status || "no answer"}`
  return makeLine(number, "requests", style, time, text, request, curl(request) + "\n")
}

// What an event is about: its channel, else its first member with a name
function eventLine({number, time, applications, event}) {
  const {channel, variable, value, digit, dialstatus, eventname, cause_txt} = event, hearers = applications.filter(isOther)
  const about = channel || Object.values(event).find(it => it?.id || it?.name || it?.resource) || {}
  if (channel) offer("channel", channel.id, channel.name)
  const name = about.name || about.media_uri || about.id || about.resource
  const words = [" ←", event.type, name, variable, value, digit, dialstatus, eventname, about.state, cause_txt]
  const text = [...words, hearers.length && "for " + hearers].filter(word => word?.trim).join(" ")
  return makeLine(number, event.type, "told", time, text, event)
}

const offered = new Set()

function offer(id, value, label = value) {
  if (!label?.trim || offered.has(value)) return
  offered.add(value)
  $(id).append(make("option", {value}, label))
  if ($(id).length > 100) offered.delete($(id)[1].value) && $(id).remove(1)
}

function filter() {
  const [kind, ...words] = ["kind", "channel", "text"].map(id => $(id).value)
  for (const line of $("lines").children)
    line.hidden = (kind ? line.kind != kind : line.kind == "ChannelVarset" && !$("variables").checked)
      || !words.every(word => line.words.includes(word))
}

function drawLines(fresh) {
  for (const line of fresh) {
    let before = $("lines").lastChild
    while (before?.key > line.key) before = before.previousSibling
    before ? before.after(line) : $("lines").prepend(line)
    offer("kind", line.kind)
  }
  while ($("lines").children.length > MAX_LINES) $("lines").firstChild.remove()
  filter()
}

$("clear").onclick = () => $("lines").replaceChildren()
$("filter").oninput = filter

// --- To follow: look at each event, at most once a second
async function news(what) {
  const found = await ask("GET", "/control/" + what, {since: since[what] || 0})
  since[what] = found.at(-1)?.number || since[what]
  return found
}

async function look() {
  const before = state
  state = await ask("GET", "/control/state")
  if (state.asterisk_id != before?.asterisk_id) {
    since = {}
    $("lines").replaceChildren()
  }
  drawPhones(state.telephones)
  drawNow(state)
  $("hint").hidden = state.channels.length
  $("faults").textContent = state.faults.map(fault => `${fault.path} ${fault.status} ${fault.times}`).join(", ")
  $("time").textContent = `${state.time.slice(11, 19)}, speed ${state.speed}`
  if ($("pause").checked) return
  const requests = await news("requests"), events = await news("events")
  drawLines([...events.slice(-MAX_LINES).map(eventLine), ...requests.slice(-MAX_LINES).map(requestLine)])
}

async function follow() {
  let socket
  for (;;) {
    const rung = new Promise(resolve => { lookNow = resolve })
    const lost = await look().then(() => "", error => error.message)
    $("lost").textContent = lost
    if (lost) $("said").textContent = ""
    else if (!(socket?.readyState <= WebSocket.OPEN))
      socket = listen(ME, true, () => lookNow())
    await second()
    await Promise.race([rung, second()])
  }
}

follow()
</script>
"""

def page_response() -> Response:
    """The page, and what it may do: nothing from elsewhere, no script or style but its own (CSP Level 3)."""
    pieces = {kind: PAGE.partition("<%s>" % kind)[2].partition("</%s>" % kind)[0] for kind in ("script", "style")}
    allowed = ["%s-src 'sha256-%s'" % (kind, base64.b64encode(hashlib.sha256(encode(piece)).digest()).decode())
               for kind, piece in pieces.items()]
    policy = "; ".join(["default-src 'none'", *allowed, "connect-src 'self'", "base-uri 'none'", "form-action 'none'",
                        "frame-ancestors 'none'"])
    headers = [("Content-Security-Policy", policy), ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer")]
    return Response(200, headers=headers, has_cors=False, content=("Content-type", "text/html; charset=utf-8", encode(PAGE)))


# === 10. Server ===
# Sockets, threads, timers, files of recordings, and the one lock of the model. http.server accepts connections, a Crew serves them;
# what is said on them comes from the sections above. No other section uses sockets; threads are known to the log of section 11 and
# to crypt(3), too, whose lock is taken by nobody who holds the model's.
#
# Leader and followers: one thread leads, waits for all idle connections, and serves what comes itself, without a change of threads.
# Before it waits for anything else it gives way: it leads no more, and the next one does. A connection belongs to who leads while
# it is watched, else to the one thread that serves it.
#
# Who leads holds Crew.lead, and may take any other lock. Those guard one thing each: the pen of an Outbox and, under it,
# TlsStream.use; Crew.watching, Journal.news, Rtp.starting. None is taken under the model's. A configuration is replaced whole, and
# read without a lock.

BACKLOG = 512                           # connections that wait to be accepted
HALF_FRAME_SECONDS = 9.0                # departure 7: an unfinished WebSocket frame
FIRST_REQUEST_SECONDS = 10.0            # how long a connection may be silent at first, at least (http.c)
LINGER_SECONDS = 1.0                    # how long a closing connection is still read, so that its last answer is not reset away
CLOSING_SECONDS = 0.3                   # how long the end waits for threads
LOOK_SECONDS = 0.2                      # how often is looked at what nothing tells: silence, free file descriptors, the end
SHORT_SECONDS = 0.001                   # of a wait that holds up nobody
BUSY_SECONDS = 0.00005                  # of looking again and again: who asks again at once is heard before a thread could wake up
LONG_LIST = 500                         # members of an answer that takes longer to make than a change of threads
MAX_SPARES = 4                          # threads that are kept for when they are needed
FILE_SECONDS = 0.05                     # how long events wait for a file of theirs, so that who hears of it finds it
RECEIVE_BYTES = 65536
MAX_QUEUED_FRAMES = 10_000              # departure 7: what may wait for one socket, in frames
MAX_QUEUED_BYTES = 16 * 2**20           # and in bytes: 10,000 events of a usual size, so that 100 stuck sockets still fit
FRAMES_AT_ONCE = 64                     # how many waiting frames go into one write
WAIT_SECONDS = 0.005                    # between two looks whether something is so
MAX_TIMER_SECONDS = 3600.0              # that a thread waits at a time, as it cannot for ever
ADVANCE_SECONDS = 10.0                  # that the time is moved on at a time, so that others have their turn
MAX_WAIT_SECONDS = 60.0                 # of a request: who has left meanwhile is not missed before
MAX_FAULT_CHARS = 1000                  # of a method, path and message
BODYLESS = (204, 205, 304)              # RFC 9110 15.3.5, 15.3.6, 15.4.5
MAX_JOURNAL, MAX_NOTED = 10_000, 20_000                 # requests, and events, that a test may look at; characters of each
MAX_FAULTS = 1000
NEAREST_MISSES = 10                     # what is shown of them where something was waited for in vain
ABNORMAL = 1006                         # RFC 6455 7.4.1: said of a connection that ended without a close frame
CLOCK_MODES = {"real": 1.0, "manual": 0.0}              # seconds that pass in one
RTP_PORTS = range(10000, 20000, 2)      # rtp.conf's
MAX_PACKET_BYTES = 8192                 # Not Asterisk: of one that comes in; slin192 has 7,692
NOT_AUDIO = (13, 19, 101, 121)          # payload types of comfort noise and digits (rtp_engine.c)
MAX_RTP_LINES = 1000                    # external media at a time
MAX_LATE_SECONDS = 0.2                  # what is behind by more is not caught up with
SILENT_SECONDS = 0.1                    # after which nobody sends any more
UNUSED_SECONDS = 5.0                    # how long a line may be without its channel
MAX_TOLD_CHARS = 500                    # of a warning
MAX_TOLD = 1000                         # how many warnings are remembered, so that each is told once
ENTITY_ID_BYTES = 6                     # Asterisk's identity looks like a MAC address

class Stream:
    """A connection. One thread reads; one at a time writes, the same, or who has the pen of an Outbox. Reading has a limit on
    silence, a whole write one on its time.

    `give_way` is called before a thread waits for the peer; where it returns False, there is no time to wait."""

    def __init__(self, sock: socket.socket, give_way: Callable[[], bool] = lambda: True) -> None:
        self.sock, self.give_way, self.limit = sock, give_way, -1.0

    def read_now(self) -> bytes:
        """What has come; BlockingIOError where nothing has, Gone at the end, and when the connection breaks."""
        return self.receive(socket.MSG_DONTWAIT)

    def read(self, seconds: float) -> bytes:
        """Wait for what comes, at first by looking again and again; Gone after so many seconds of silence (0: any), at the end, and
        when the connection breaks."""
        if not self.give_way():
            raise Gone
        until = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                return self.read_now()
            except BlockingIOError:
                if time.monotonic() >= until:
                    break
        return self.read_later(seconds)

    def read_later(self, seconds: float) -> bytes:
        """Wait for what comes, asleep; Gone as of read()."""
        try:
            if seconds != self.limit:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval(seconds))
                self.limit = seconds
            return self.receive(0)
        except OSError:
            raise Gone from None

    def receive(self, flags: int) -> bytes:
        """One recv(2); BlockingIOError where nothing has come, or not in time."""
        try:
            data = self.sock.recv(RECEIVE_BYTES, flags)
        except BlockingIOError:
            raise
        except OSError:
            raise Gone from None
        if not data:
            raise Gone
        return data

    def write(self, data: bytes) -> int:
        """How many bytes were taken at once; BlockingIOError where none could be, OSError when the connection is broken."""
        return self.sock.send(data, socket.MSG_DONTWAIT)

    def write_all(self, pieces: Iterable[bytes], seconds: float) -> None:
        """Write all; OSError when that takes longer."""
        until = time.monotonic() + seconds
        for piece in pieces:
            sent = 0
            while sent < len(piece):
                try:
                    sent += self.write(piece[sent:] if sent else piece)
                except BlockingIOError:
                    if not self.wait(select.POLLOUT, until - time.monotonic()):
                        raise OSError(errno.ETIMEDOUT, "the peer takes nothing") from None

    def wait(self, what: int, seconds: float) -> bool:
        """Wait until the socket can be read (POLLIN) or written (POLLOUT); False when the time is over before."""
        poll = select.poll()
        poll.register(self.sock, what)
        if seconds > SHORT_SECONDS and not self.give_way():
            return False
        return seconds >= 0 and bool(poll.poll(None if seconds == math.inf else seconds * 1000))

    def has_left(self) -> bool:
        """Whether the peer has ended the connection, or his side of it."""
        return self.wait(getattr(select, "POLLRDHUP", select.POLLHUP), 0)

    def end_output(self) -> None:
        """Say that nothing more will be written."""
        self.shut_down(socket.SHUT_WR)

    def shut_down(self, how: int = socket.SHUT_RDWR) -> None:
        """End it, one way or both, if it is not gone already; who waits for it wakes up."""
        with contextlib.suppress(OSError):
            socket.socket.shutdown(self.sock, how)      # of an SSLSocket, too, which else would go on without TLS

class TlsStream(Stream):
    """The same over TLS, on a socket that never blocks: a TLS object is used by one thread at a time, and none waits with it.

    The handshake happens inside the first read. A peer that has said close_notify is still written to (RFC 8446 6.1)."""

    def __init__(self, sock: ssl.SSLSocket, give_way: Callable[[], bool]) -> None:
        super().__init__(sock, give_way)
        self.use, self.has_ended = threading.Lock(), False
        self.wanted = select.POLLIN

    def read_later(self, seconds: float) -> bytes:
        until = time.monotonic() + (seconds or math.inf)
        while self.wait(self.wanted, until - time.monotonic()):
            with contextlib.suppress(BlockingIOError):
                return self.read_now()
        raise Gone

    def read_now(self) -> bytes:
        try:
            with self.use:
                data = self.sock.recv(RECEIVE_BYTES)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError) as error:
            self.wanted = select.POLLOUT if isinstance(error, ssl.SSLWantWriteError) else select.POLLIN
            raise BlockingIOError from error
        except (OSError, ValueError) as error:
            logger.debug("TLS: %s", error)
            raise Gone from None
        if not data:
            raise Gone
        return data

    def write(self, data: bytes) -> int:
        try:
            with self.use:
                if self.has_ended:      # the socket below would take what is to be encrypted
                    raise OSError(errno.EPIPE, "TLS is over")
                return self.sock.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            raise BlockingIOError from error

    def end_output(self) -> None:
        with self.use:
            self.has_ended = True
            with contextlib.suppress(OSError, ValueError):
                self.sock.unwrap()      # close_notify, whether or not the peer's has come
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_WR)      # from here on it reads what comes without decrypting it

def timeval(seconds: float) -> bytes:
    """C's struct timeval; what is less than a microsecond is one, as 0 would be for ever."""
    microseconds = max(int(seconds * US_PER_SECOND), 1) if seconds else 0
    return struct.pack("@ll", *divmod(microseconds, US_PER_SECOND))

class Outbox:
    """The frames that wait to be sent on one socket, in order, and the pen: whoever holds it writes them.

        put() ---> [ frame | frame | frame ] ---> write(), with the pen ---> socket
          |                                         |
          + under Server.lock                       + without it, by whoever calls flush() and finds the pen free

    Invariant: while frames wait, somebody holds the pen or is about to try it, unless they are frozen: then who thaws them is.
    For who has put a frame tries it (flush), and who puts the pen down looks once more. It is only ever tried: who finds it taken
    goes on with his work, so that a slow peer holds up nobody and a quick one costs no change of threads. A peer that does not take
    bytes at once is handed, pen included, to a thread of its own. A frame that is not written whole within `write_seconds`, or a
    full outbox, ends the socket (departure 7)."""

    def __init__(self, stream: Stream, write_seconds: float) -> None:
        self.stream, self.write_seconds, self.deadline = stream, write_seconds, 0.0
        self.frames: collections.deque[bytes] = collections.deque()
        self.bytes_put = self.bytes_sent = 0            # each is counted by one side only
        self.is_broken = self.is_late = False           # never again False; late: the peer did not take what it was sent
        self.thawing: Timer | None = None               # what ends a freeze, in which nothing is written
        self.pen = threading.Lock()
        self.pen.acquire()                              # until open()

    def open(self) -> None:
        """Begin to write."""
        self.pen.release()
        self.flush()

    def put(self, frame: bytes) -> None:
        """Let a frame wait; flush() is to follow. Server.lock is held, but for the first frame, of which nobody else knows."""
        if len(self.frames) >= MAX_QUEUED_FRAMES or self.bytes_put - self.bytes_sent + len(frame) > MAX_QUEUED_BYTES:
            self.is_broken = self.is_late = True
        if not self.is_broken:
            self.frames.append(frame)
            self.bytes_put += len(frame)

    def flush(self) -> None:
        """Send what waits, unless somebody does."""
        while self.frames and not self.is_broken and not self.thawing and self.pen.acquire(blocking=False):
            self.deadline = time.monotonic() + self.write_seconds
            if not self.write():
                try:
                    threading.Thread(target=self.write_patiently, name="events", daemon=True).start()
                    return
                except RuntimeError:    # no thread can be had
                    self.is_broken = True
            self.pen.release()
        if self.is_broken:
            self.stream.shut_down()     # and whoever waits in write_patiently() wakes up

    def write_patiently(self) -> None:
        """Go on with the pen of another thread. Poll wakes it late, once much of the kernel's buffer is free: so it tries again."""
        while not self.write():
            left = self.deadline - time.monotonic()
            if left > 0:
                self.stream.wait(select.POLLOUT, left)
            else:
                self.is_broken = self.is_late = True
        self.pen.release()
        self.flush()

    def write(self) -> bool:
        """Send what waits, pen in hand; False when the peer takes no more for now."""
        while self.frames and not self.is_broken and not self.thawing:
            count = min(len(self.frames), FRAMES_AT_ONCE)               # put() may add one meanwhile
            batch = b"".join([self.frames[at] for at in range(count)]) if count > 1 else self.frames[0]
            try:
                self.drop(self.stream.write(batch))
            except BlockingIOError:
                return False
            except OSError:
                self.is_broken = True
        return True

    def drop(self, size: int) -> None:
        """Take so many bytes, which have been sent, from the head of the queue."""
        self.bytes_sent += size
        while self.frames and size >= len(self.frames[0]):
            size -= len(self.frames.popleft())
            self.deadline = time.monotonic() + self.write_seconds       # of the frame that is the first now
        if size:
            self.frames[0] = self.frames[0][size:]

    def wait_sent(self, seconds: float) -> None:
        """Wait until nothing waits any more, or for so long: of all, only the end of a socket waits for the pen."""
        if self.pen.acquire(timeout=max(0.0, seconds)):
            self.pen.release()
            self.flush()

class EventSocket:
    """An open WebSocket. The thread of its HTTP connection reads, and the parser is that thread's alone; what goes out waits in
    an Outbox. It is open while it stands in Server.event_sockets, which belongs to the lock as the model does."""

    def __init__(self, ari: Server, stream: Stream, peer: str) -> None:
        self.ari, self.stream, self.peer = ari, stream, peer
        self.parser = FrameParser()
        self.outbox = Outbox(stream, ari.config.write_timeout_ms / 1000)

    def run(self, upgrade: Upgrade, rest: bytes, note: Callable[[], None]) -> None:
        """Register the applications, say 101, then read frames until the connection is over."""
        def register(stasis: Stasis) -> None:
            note()
            self.ari.event_sockets.add(self)
            stasis.open_applications(self, upgrade.applications, upgrade.follows_all)
        lines = ["%s: %s\r\n" % header for header in upgrade.headers]
        self.outbox.put(encode("HTTP/1.1 101 %s\r\n%s\r\n" % (PHRASES[101], "".join(lines))))
        self.ari.change(register)
        self.outbox.open()              # only now: who was replaced hears it before the newcomer's 101
        names = masked_text(", ".join(upgrade.applications))
        logger.info("%s event socket of %s opened", self.peer, names)
        try:
            self.parser.receive(rest)
            while not self.parser.is_closed:
                self.send(self.parser.to_send())
                data = self.stream.read(HALF_FRAME_SECONDS if self.parser.is_inside_frame else 0)
                for opcode, payload in self.parser.receive(data):
                    logger.debug("%s %s frame of %d bytes", self.peer, Opcode(opcode).name.lower(), len(payload))
            self.send(self.parser.to_send(), is_last=True)
        except Gone:
            self.send(close_frame(Close.NORMAL), is_last=True)
        finally:
            self.send(b"", is_last=True)                # after a fault, too, its applications have nobody who hears them
        self.outbox.wait_sent(self.outbox.write_seconds + LINGER_SECONDS)
        if self.outbox.is_late and not self.ari.is_closing:
            logger.warning("%s event socket of %s dropped: it did not take its events in time (websocket_write_timeout is %d ms)",
                           self.peer, names, self.outbox.write_seconds * 1000)
        logger.info("%s event socket of %s closed, code %s", self.peer, names, self.parser.close_code)

    def end(self, code: int = 0) -> None:
        """End it from outside, at once for the model: with a close frame, or without a word."""
        self.send(close_frame(code) if code else b"", is_last=True)
        if code:
            self.outbox.wait_sent(LINGER_SECONDS)
        self.stream.shut_down()

    def send(self, frames: bytes, is_last: bool = False) -> None:
        """Send frames while it is open; `is_last` of a close frame, or of none: its applications end before it."""
        def put(stasis: Stasis) -> None:
            if self not in self.ari.event_sockets:
                return                  # behind a close frame goes nothing (RFC 6455 5.5.1)
            if is_last:
                self.ari.event_sockets.remove(self)
                stasis.close_applications(self)
                if self.outbox.thawing:                 # a freeze holds up no end, nor what stands before it
                    self.outbox.thawing.cancel()
                    self.outbox.thawing = None
            if frames:
                self.outbox.put(frames)
        if frames or is_last:
            self.ari.change(put)
            self.outbox.flush()

USER_INFO = re.compile(r"//[^/?#\s]*@")                  # of a URL
API_KEY = "".join("(?:%s|(?:%%|\\\\u00)(?:%02x|%02x))" % (char, ord(char), ord(char.upper())) for char in "api_key")
SECRET = re.compile(r'(%s=)[^&]*|(%s"\s*:\s*)(?:"(?:[^"\\]|\\.)*"?|[\[{][^\]}]*|[^,}\]]*)' % (API_KEY, API_KEY),
                    re.IGNORECASE | re.DOTALL)
HIDDEN = re.compile(r"//[^/?#\s@]*:[^/?#\s@]*@|api_key=(?!\.\.\.)", re.IGNORECASE)           # seen only once it is decoded
NO_HEAD = Head("(bad", "request)", [])  # stands in for a head that could not be read

class HttpConnection:
    """One connection: requests in, answers out, in order, until somebody closes it; a thread of the Crew does that.

        new --> served <--> watched, and from either --> lingering --> closed"""

    def __init__(self, sock: socket.socket, address: tuple, listener: Listener) -> None:
        self.ari, self.sock, self.peer = listener.ari, sock, "%s:%s" % address[:2]
        give_way, settings = self.ari.crew.give_way, self.ari.http
        self.stream = TlsStream(sock, give_way) if listener.tls else Stream(sock, give_way)
        self.incoming = Incoming(b"", self.read, settings.inactivity)
        self.is_watched = self.is_lingering = self.has_read = False
        self.expires = time.monotonic() + max(settings.keep_alive or settings.inactivity, FIRST_REQUEST_SECONDS)

    def go_on(self) -> None:
        """Take what has come, and answer it; called when something has, or the end."""
        self.has_read = False
        try:
            data = self.stream.read_now()               # thrown away by who lingers
            is_open = self.is_lingering or self.serve(data)
            while not self.is_lingering and self.ari.crew.has_one() and self.ari.crew.give_way():
                is_open = self.serve(self.stream.read(self.ari.http.keep_alive))
        except BlockingIOError:
            is_open = True
        except Gone:
            is_open = not self.is_lingering and self.linger()
        if is_open:
            self.ari.crew.watch(self)
        else:
            self.close()

    def serve(self, data: bytes) -> bool:
        """Answer the requests in what has come; False when the connection is over."""
        self.incoming.add(data)
        try:
            while self.serve_request():
                if not self.incoming.has_rest():
                    self.expires = time.monotonic() + self.ari.http.keep_alive
                    return True
                self.ari.crew.give_way()                # who sends several at once may go on for long
        except (Gone, OSError):
            pass                        # the peer went away inside a request, or the file inside an answer: nothing can be told
        return self.linger()

    def serve_request(self) -> bool:
        """Read one request, answer it; False when the connection is to end."""
        self.head, self.body, self.fault, self.is_noted, self.era = NO_HEAD, b"", None, not self.ari.keeps_journal, -1
        try:
            response = self.find_response()
            if self.fault and self.fault["drop"]:
                raise Gone              # behind the deed, done or refused
        except Gone:
            if self.fault:
                self.ari.change(lambda stasis: self.note(0))
            raise
        if isinstance(response, Upgrade):
            EventSocket(self.ari, self.stream, self.peer).run(response, self.incoming.rest(), lambda: self.note(101))
            return False
        if not self.is_noted and ari_path(self.head, self.ari.http.prefix) is not None:
            self.ari.change(lambda stasis: self.note(response.status, response.value))
        head = self.head
        keeps = not response.closes and not head.closes and self.ari.http.keep_alive > 0 and self.incoming.skip_body()
        if "origin" in head.by_name or logger.isEnabledFor(logging.INFO):
            self.log(head, response)
        self.respond(head, response, keeps)
        return keeps

    def find_response(self) -> Response | Upgrade:
        """What the next request comes to; Gone where there is nobody to tell it."""
        try:
            response = self.read_request()
            if not isinstance(response, Response):
                self.fault = self.ari.next_fault(self.head) if self.ari.faults else None
                if self.fault:
                    self.ari.suffer(self.fault)
                self.is_noted = self.is_noted or is_control(self.head, self.ari.http)
                response = self.ari.perform(response, self.note)
            return response
        except (AriError, HttpError) as error:
            return refusal(error, self.ari.http.server_name)
        except Gone:
            raise
        except Exception:
            logger.exception("a fault of ari_ref in %s", masked(self.head))
            return json_error(AriError(500, "Internal error"))

    def read_request(self) -> Response | Callable[[Stasis], object]:
        """Read the next `head`, and the body, for what decide() says of them; HttpError, AriError where they cannot be read."""
        config, http_config = self.ari.config, self.ari.http
        data = self.incoming.small_head()
        known = known_head(data) if data else None
        if known:
            self.incoming.take_head(len(data), known)
        self.head = known or self.incoming.read_head()
        self.era = self.ari.era         # only now: a head may have been long in coming, over a reset
        if self.head.has_body and (config.is_enabled and ari_path(self.head, http_config.prefix) is not None
                                   or is_control(self.head, http_config)):
            self.body = self.incoming.read_body(self.head)
            if self.body and logger.isEnabledFor(logging.DEBUG):
                logger.debug("%s asked %s", self.peer, masked_text(decode(self.body)))
        is_small = known and len(self.body) <= SMALL_BODY_BYTES
        return (known_decision if is_small else decide)(self.head, self.body, config, http_config)

    def note(self, status: int, value=NO_BODY) -> None:
        """Put the request into the journal, once; the lock is held."""
        if not self.is_noted and self.era == self.ari.era:          # nothing of before a reset
            self.is_noted = True
            self.ari.asked.add(self.head.size + len(self.body), self.ari.stasis.now, self.head, self.body,
                               0 if self.fault and self.fault["drop"] else status, value if status >= 400 else NO_BODY)

    def log(self, head: Head, response: Response) -> None:
        """Warn of an Origin that is not allowed. Say what was asked and answered: at `info` one line, with the reason of a refusal,
        at `debug` what was sent."""
        origin = head.by_name.get("origin", "")
        if origin and origin.partition("://")[2] != head.by_name.get("host") and not cors_headers(head, self.ari.config):
            self.ari.warn("the Origin %s is not among allowed_origins in ari.conf, so no page from there sees an answer" % (
                masked_text(origin)))
        if logger.isEnabledFor(logging.INFO):
            reason = response.value if response.status >= 400 and response.value is not NO_BODY else ""
            logger.info("%s %s %d %s", self.peer, masked(head), response.status, masked_text(json.dumps(reason) if reason else ""))
        if logger.isEnabledFor(logging.DEBUG) and response.value is not NO_BODY:
            logger.debug("%s answered %s", self.peer, masked_text(dump_json(response.value)))

    def respond(self, head: Head, response: Response, keeps: bool) -> None:
        """Write an answer whole; OSError where the peer does not take it in time."""
        content = response.content[2] if response.content else None
        size, pieces = content if isinstance(content, Content) else (0, ())
        if size or type(response.value) is list and len(response.value) > LONG_LIST:
            self.ari.crew.give_way()
        data = response.to_bytes(http_date(int(self.ari.now())), self.ari.http.server_name, self.ari.config.is_pretty,
                                 cors_headers(head, self.ari.config), not keeps, head.method == "HEAD")
        self.stream.write_all(itertools.chain((data,), pieces), TRANSFER_SECONDS + (len(data) + size) / TRANSFER_RATE)

    def read(self, seconds: float) -> bytes:
        """More of a request. As many clients send a head and its body apart, it is waited for a moment, once, before giving way;
        so short a wait is made by who leads."""
        if not self.has_read and self.stream.wait(select.POLLIN, SHORT_SECONDS):
            self.has_read = True
            with contextlib.suppress(BlockingIOError):
                return self.stream.read_now()
        return self.stream.read(seconds)

    def linger(self) -> bool:
        """Say that nothing more will be written, and read on for a moment: closing with bytes unread would reset the last answer
        away. False where that is not needed."""
        self.stream.end_output()
        self.is_lingering, self.expires = True, time.monotonic() + LINGER_SECONDS
        try:
            self.stream.read_now()
        except BlockingIOError:
            pass
        except Gone:
            return False
        return True

    def expire(self) -> None:
        """End what was silent for too long, unless something has come while nobody looked; close what has lingered."""
        if self.is_lingering or not (self.stream.wait(select.POLLIN, 0) or self.linger()):
            self.close()

    def close(self) -> None:
        self.ari.crew.forget(self)
        self.stream.shut_down()
        self.sock.close()

@functools.lru_cache(maxsize=KNOWN)
def known_head(data: bytes) -> Head | None:
    """The head that `data` is; None when it is more than that."""
    incoming = Incoming(data)
    head = incoming.read_head()
    return None if incoming.has_rest() else head

def decide(head: Head, body: bytes, config: Config, http_config: HttpConfig) -> Response | Callable[[Stasis], object]:
    """The response to a request, or what the model is to do for it; follows from these arguments alone."""
    try:
        if http_config.has_status and head.path.rstrip("/").lower() == http_config.prefix.lower() + "/httpstatus":
            return status_page(head.method, http_config)
        if http_config.has_control and head.path in PAGE_PATHS and head.method in ("GET", "HEAD"):
            return page_response()
        request = Request(head, body, http_config.prefix)
        if is_control(head, http_config):
            log_in(request, config, reads=())
            return resolve_control(request)
        if not config.is_enabled or request.path is None:
            raise HttpError(404, "The requested URL was not found on this server.", close=False)
        admit(request, config)
        return resolve(request, config)
    except (AriError, HttpError) as error:
        return refusal(error, http_config.server_name)

# Clients send the same requests again and again: this remembers what they come to. Threads share that, and never change it.
known_decision = functools.lru_cache(maxsize=KNOWN)(decide)

def is_control(head: Head, settings: HttpConfig) -> bool:
    return settings.has_control and head.path.startswith("/control/")

def masked(head: Head) -> str:
    """Method and target for the log."""
    path, mark, query = head.target.partition("?")
    return "%s %s" % (printable(head.method), masked_text(path) + mark + masked_text(query))

def masked_text(text: str) -> str:
    """A path, query, form, JSON or Origin for the log: an api_key, however it is spelt, and what stands before a host is hidden."""
    pieces = re.split(r"([&\s]+)", USER_INFO.sub("//...@", SECRET.sub(r"\1\2...", text)))
    clear = [percent_decode(piece.replace("\\/", "/")) for piece in pieces]
    return printable("".join("..." if shown != piece and HIDDEN.search(shown) else piece for piece, shown in zip(pieces, clear)))

def printable(text: str) -> str:
    """`text` without characters that would do something to a terminal or a file of lines."""
    return text if text.isprintable() else "".join(
        char if char.isprintable() else char.encode("unicode_escape", "surrogatepass").decode() for char in text)

class Listener(http.server.HTTPServer):
    """A listening socket; its connections are kept in Server.sessions as long as they live."""
    request_queue_size, timeout = BACKLOG, 0            # handle_request() waits for nobody

    def __init__(self, ari: Server, address: tuple[str, int], tls: ssl.SSLContext | None) -> None:
        self.ari, self.tls = ari, tls
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        super().__init__(address, HttpConnection)

    def server_bind(self) -> None:
        """Bind without looking up the host's own name, which can hang."""
        socketserver.TCPServer.server_bind(self)

    def get_request(self) -> tuple[socket.socket, tuple]:
        """The next connection; without file descriptors, which would have it asked again at once, after a moment."""
        try:
            return super().get_request()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                self.ari.warn("no connection can be accepted now: %s" % error.strerror)
                self.ari.crew.pause(self)
            raise

    def verify_request(self, request: socket.socket, client_address) -> bool:
        """False, and so closed without an answer, over the session limit."""
        return len(self.ari.sessions) < self.ari.http.session_limit

    def process_request(self, request: socket.socket, client_address) -> None:
        """Begin to serve a connection, over TLS on a socket that speaks it."""
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.tls:
            request.setblocking(False)
            request = self.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
        self.ari.sessions[request] = connection = HttpConnection(request, client_address, self)
        self.ari.crew.serve(connection, connection.close if self.ari.is_closing else connection.go_on)

    def handle_error(self, request: socket.socket, client_address) -> None:
        """Log a fault; that a peer has gone is none."""
        is_gone = isinstance(sys.exc_info()[1], OSError)
        logger.log(logging.DEBUG if is_gone else logging.ERROR, "the connection from %s", client_address, exc_info=True)

class Crew:
    """The threads that serve connections. One of them leads: it waits until something comes on any that is idle, or a new one, and
    serves what has come in turn. Who waits for something else, or goes on for long, gives way first: then another one leads."""

    def __init__(self, ari: Server) -> None:
        self.ari, self.selector = ari, selectors.DefaultSelector()
        self.lead = threading.Lock()
        self.watching = threading.Lock()                # around a change of whether a connection is watched
        self.own = threading.local()    # whether a thread leads, and the connection that it serves
        self.ready: collections.deque[Callable[[], None]] = collections.deque()     # belongs to who leads, as next_look does
        self.next_look = 0.0
        self.paused: list[Listener] = []
        self.threads: set[threading.Thread] = set()
        self.spares: list[None] = []    # one for each that waits for its turn uncalled; append() and pop() need no lock

    def start(self) -> None:
        """Begin to accept connections; RuntimeError where no thread can be had."""
        self.paused = list(self.ari.listeners)
        self.call()

    def call(self) -> None:
        """Have one more thread wait for the lead; RuntimeError where none can be had."""
        if self.spares:
            self.spares.pop()
        else:
            thread = threading.Thread(target=self.run, daemon=True)
            self.threads.add(thread)
            try:
                thread.start()
            except RuntimeError:
                self.threads.remove(thread)
                raise

    def run(self) -> None:
        """Lead whenever it is one's turn, until enough others wait for theirs, or the server closes."""
        me, is_needed, HASHING.before = threading.current_thread(), True, self.give_way
        while is_needed:
            self.lead.acquire()
            self.own.leads = True
            while self.own.leads and not self.ari.is_closing:
                self.serve_next()
            if self.own.leads:
                self.lead.release()     # for the others to end, too
            is_needed = not self.ari.is_closing and len(self.spares) < MAX_SPARES
            if is_needed:
                self.spares.append(None)
        self.threads.discard(me)

    def serve_next(self) -> None:
        """Serve one that is ready, or look who is."""
        if self.ready:
            self.ready.popleft()()
        else:
            self.look_for_silence()
            self.ready.extend([key.data for key, _ in self.selector.select(LOOK_SECONDS)])

    def look_for_silence(self) -> None:
        """End what was silent for too long, and listen again where that was paused; now and then."""
        now = time.monotonic()
        if now >= self.next_look:
            self.next_look = now + LOOK_SECONDS
            while self.paused:
                listener = self.paused.pop()
                self.selector.register(listener, selectors.EVENT_READ, listener.handle_request)
            for connection in list(self.ari.sessions.values()):
                if connection.is_watched and connection.expires <= now:
                    self.serve(connection, connection.expire)

    def serve(self, connection: HttpConnection, act: Callable[[], None]) -> None:
        """Have a connection do something, which costs no more than the connection where it fails; called by who leads."""
        self.own.connection = connection
        try:
            act()
        except Exception:
            if not self.ari.is_closing:
                logger.exception("a fault of ari_ref in the connection from %s", connection.peer)
            connection.close()

    def has_one(self) -> bool:
        """Whether all connections but one are event sockets: then it is quicker to wait for that one alone. Looked at without the
        lock: who is wrong waits in the other way, that is all."""
        return len(self.ari.sessions) - len(self.ari.event_sockets) <= 1

    def give_way(self) -> bool:
        """To be called by a thread that is about to wait: if it leads, another one does from here on. False where there is none."""
        if getattr(self.own, "leads", False):
            try:
                self.call()
            except RuntimeError:        # no thread can be had
                self.ari.warn("no connection can be served as long as another one waits: there are no more threads")
                return False
            self.unwatch(self.own.connection)
            self.own.leads = False
            self.lead.release()
        return True

    def watch(self, connection: HttpConnection) -> None:
        """Look when something comes, if nobody does; close it where the kernel watches no more of them."""
        if not connection.is_watched:
            act = functools.partial(self.serve, connection, connection.go_on)
            try:
                with self.watching:
                    connection.is_watched = True        # first: who leads may see something come before this is done
                    self.selector.register(connection.sock, selectors.EVENT_READ, act)
            except (OSError, ValueError) as error:      # ValueError: the end of the server has closed it meanwhile
                connection.is_watched = False
                if not self.ari.is_closing:
                    self.ari.warn("a connection cannot be kept: %s" % error)
                connection.close()

    def unwatch(self, connection: HttpConnection) -> None:
        with self.watching:
            if connection.is_watched:
                connection.is_watched = False
                self.selector.unregister(connection.sock)

    def forget(self, connection: HttpConnection) -> None:
        """A connection is over."""
        self.unwatch(connection)
        self.ari.sessions.pop(connection.sock, None)

    def pause(self, listener: Listener) -> None:
        """Accept nothing for a moment."""
        self.selector.unregister(listener)
        self.paused.append(listener)

class RecordingFiles:
    """The files of recordings below `folder`; None where they live in memory. OSError from all of it.

    Used without the lock and by one thread, Server.worker; but a Content is read by the connection that sends it."""

    def __init__(self, folder: str | None) -> None:
        self.folder = folder

    def found(self) -> dict[str, dict[str, float]]:
        """What lies there: {name: {suffix: length in ms}}; OSError where nothing could be written."""
        lengths: dict[str, dict[str, float]] = {}
        if self.folder:
            os.makedirs(self.folder, exist_ok=True)
            if not os.access(self.folder, os.W_OK):
                raise OSError(errno.EACCES, os.strerror(errno.EACCES), self.folder)
        for name, suffix, length in sound_files(self.folder) if self.folder else ():
            lengths.setdefault(name, {})[suffix] = length
        return lengths

    def path(self, name: str, suffix: str) -> str:
        try:
            os.fsencode(name)
        except UnicodeError:            # the file system has another encoding
            raise OSError(errno.EILSEQ, os.strerror(errno.EILSEQ), name) from None
        return os.path.join(self.folder, "%s.%s" % (name, suffix))

    def begin(self, name: str, suffix: str, appends: bool) -> None:
        """Make a file, empty unless it is to be added to."""
        os.makedirs(os.path.dirname(self.path(name, suffix)), exist_ok=True)
        file = open_plain(self.path(name, suffix), "ab" if appends else "wb")
        try:
            with file:                  # one that was to be added to may be gone
                file.write(b"" if os.fstat(file.fileno()).st_size else file_head(suffix, 0, is_open=True))
        except OSError:
            if not appends:
                self.remove(name, suffix)
            raise

    def end(self, name: str, suffix: str, size: int) -> None:
        """Add silence up to so many bytes of audio. What was there stays, also when the file cannot be completed."""
        head, file = file_head(suffix, size), open_plain(self.path(name, suffix), "r+b")
        before = os.fstat(file.fileno()).st_size
        try:
            with file:
                missing = len(head) + size - before
                if missing > 0 and not FORMATS[suffix].silence:
                    file.truncate(len(head) + size)     # zeros that take no room
                else:
                    file.seek(before)
                    file.writelines(silence(suffix, max(0, missing)))
                sound, whole = wav_sound(file) if head else 0, max(before, len(head) + size)
                for at in (8, sound) if sound else ():  # a size stands before what it counts
                    file.seek(at - 4)
                    file.write(struct.pack("<I", min(whole - at, 2**32 - 1)))
        except OSError:
            os.truncate(self.path(name, suffix), before)
            if before <= len(head):
                self.remove(name, suffix)
            raise

    def remove(self, name: str, *suffixes: str) -> None:
        for suffix in suffixes if self.folder else ():
            if os.path.exists(self.path(name, suffix)):
                os.remove(self.path(name, suffix))

    def copy(self, name: str, copied: str, suffix: str) -> Iterator[bool]:
        """Begin to copy a file; each step of what comes back copies some of it, the last puts it into its place."""
        if not self.folder or name == copied:
            return iter(())
        target = os.path.realpath(self.path(copied, suffix))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if os.path.exists(target):
            open_plain(target, "ab").close()            # what is no plain file stays
        steps = self.copy_pieces(self.path(name, suffix), target)
        next(steps)                     # the file that is copied is the one of now
        return steps

    def copy_pieces(self, path: str, target: str) -> Iterator[bool]:
        part = os.path.join(os.path.dirname(target), ".%s.part" % secrets.token_hex(8))
        try:
            with open_plain(path) as source, open(part, "wb") as file:
                yield True
                for piece in iter(lambda: source.read(COPIED_BYTES), b""):
                    file.write(piece)
                    yield True
            os.replace(part, target)
        finally:                        # it was given up, or failed
            with contextlib.suppress(OSError):
                os.remove(part)

    def lengths(self, name: str) -> dict[str, float]:
        """What lies there of one recording, {suffix: length in ms}."""
        try:
            paths = {suffix: self.path(name, suffix) for suffix in FORMATS}
        except OSError:
            return {}
        return {suffix: file_length_ms(suffix, os.path.getsize(path)) for suffix, path in paths.items() if os.path.isfile(path)}

    def content(self, name: str, suffix: str, size: int, is_open: bool) -> Content:
        """The bytes of a file; in memory, so many bytes of silence."""
        if not self.folder:
            head = file_head(suffix, size, is_open)
            return Content(len(head) + size, itertools.chain((head,), silence(suffix, size)))
        file = open_plain(self.path(name, suffix))
        def pieces() -> Iterator[bytes]:
            with file:
                yield b""               # taken at once, so that the file is closed also where nobody takes more
                left = size
                while left > 0:         # one that is being written may grow, or be cut
                    piece = file.read(min(left, PIECE_BYTES)) or bytes(min(left, PIECE_BYTES))
                    left -= len(piece)
                    yield piece
        size, content = os.fstat(file.fileno()).st_size, pieces()
        next(content)
        return Content(size, content)

@functools.lru_cache(maxsize=1)
def c_sendto() -> Callable:
    """C's sendto(2), called without letting other threads run: 100 times in 20 ms each of them would take the processor away, and
    hold up the packets behind. The socket does not wait."""
    import ctypes
    return ctypes.PyDLL(None).sendto

def c_address(remote: tuple, family: int) -> bytes:
    """HOST and PORT as C's struct sockaddr_in, or sockaddr_in6; but on Linux it begins with its size."""
    host = socket.inet_pton(family, remote[0].partition("%")[0])
    rest = host + bytes(8) if family == socket.AF_INET else bytes(4) + host + struct.pack("=I", remote[3])
    head = struct.pack("=H", family) if sys.platform == "linux" else struct.pack("BB", 4 + len(rest), family)
    return head + struct.pack(">H", remote[1]) + rest

class RtpLine:
    """The UDP socket of external media and what went over it. Its thread's alone, but that others may read the counts."""

    def __init__(self, sock: socket.socket, remote: tuple, format_name: str) -> None:
        self.sock, self.remote, self.format, self.codec = sock, c_address(remote, sock.family), format_name, rtp_codec(format_name)
        self.address, self.port = sock.getsockname()[:2]
        self.voice: ExternalMedia | None = None         # from the moment that there is a channel
        self.opened, self.last_heard, self.is_loud = time.monotonic(), -math.inf, False
        self.sequence, self.timestamp, self.ssrc = secrets.randbits(15), 0, secrets.randbits(32)
        self.sent = self.sent_bytes = self.received = self.received_bytes = 0
        limit = KEPT_FRAMES * (len(self.codec.silence) or FRAME_BYTES)
        self.coming, self.received_lately = Recent(limit), Recent(limit)        # payloads that nobody heard yet; of the last 30 s
        self.present: bytes | None = None               # what is heard of it now

    def take(self) -> None:
        """Read what has come."""
        with contextlib.suppress(OSError):              # nothing more, or an answer of ICMP
            for _ in range(KEPT_FRAMES):
                payload = rtp_payload(self.sock.recv(MAX_PACKET_BYTES))
                if payload is not None:
                    self.received, self.received_bytes = self.received + 1, self.received_bytes + len(payload)
                    self.coming.add(payload)
                    self.received_lately.add(payload)
                    self.last_heard = time.monotonic()

    def go_on(self) -> None:
        """The next payload is what is heard now."""
        self.present = self.coming.take() if self.coming.frames and self.voice.sends else None  # once everybody listens
        if self.voice.silence_ms is not None and self.present and self.codec.to_ulaw:
            self.is_loud = sum(self.codec.to_ulaw(self.present).translate(LOUDNESS)) > LOUD

    def send(self, frame: tuple[str, bytes]) -> None:
        """Send (format, payload), in the format of this line; what the network does not take is lost."""
        payload, codec = as_carried(frame, self.format), self.codec
        if not payload:
            return
        step = codec.rate // 50 * len(payload) // len(codec.silence) if codec.silence else codec.rate // 50
        self.sequence, self.timestamp = (self.sequence + 1) & 0xFFFF, (self.timestamp + step) & 0xFFFFFFFF
        head = struct.pack(">BBHII", 0x80, codec.payload_type, self.sequence, self.timestamp, self.ssrc)       # RFC 3550 5.1
        c_sendto()(self.sock.fileno(), head + payload, len(head) + len(payload), socket.MSG_DONTWAIT, self.remote, len(self.remote))
        self.sent, self.sent_bytes = self.sent + 1, self.sent_bytes + len(payload)

def as_carried(frame: tuple[str, bytes], wanted: str) -> bytes:
    """(format, payload) in another format; silence where that is not known, or nothing is said."""
    format_name, payload = frame
    codec, own = rtp_codec(format_name or wanted), rtp_codec(wanted)
    if codec is own or not format_name:
        return payload or own.silence
    return own.from_ulaw(codec.to_ulaw(payload)) if own.from_ulaw and codec.to_ulaw else own.silence

def rtp_payload(packet: bytes) -> bytes | None:
    """What a packet carries (RFC 3550 5.1, 5.3.1); None for one that is none, or no audio."""
    is_audio = len(packet) >= 12 and packet[0] >> 6 == 2 and packet[1] & 0x7F not in NOT_AUDIO
    at = 12 + 4 * (packet[0] & 0x0F) if is_audio else None
    if at is not None and packet[0] & 0x10:
        at += 4 + 4 * int.from_bytes(packet[at + 2:at + 4], "big")
    end = len(packet) - (packet[-1] if packet[0] & 0x20 else 0) if at is not None else 0
    return packet[at:end] if at is not None and at < end else None

class Rtp:
    """Carries the audio of external media: one thread for all of it, from the first channel on, which looks every 20 ms what has
    come and sends what is heard. Who hears whom it learns from the model whenever that has changed."""

    def __init__(self, ari: Server) -> None:
        self.ari, self.lines, self.ports = ari, [], itertools.cycle(RTP_PORTS)
        self.thread: threading.Thread | None = None
        self.version, self.asks = -1, None
        self.starting = threading.Lock()

    def start(self) -> None:
        """Begin, if that has not been done."""
        with self.starting:
            if not self.thread and not self.ari.is_closing:
                thread = threading.Thread(target=self.run, name="rtp", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    raise OSError(errno.EAGAIN, "there are no more threads") from None
                self.thread = thread

    def open(self, host: str, format_name: str) -> RtpLine:
        """A line to HOST:PORT; OSError where there is none (chan_rtp.c, unicast_rtp_request)."""
        name, _, port = host.rpartition(":")
        try:
            found = socket.getaddrinfo(name.strip("[]") or None if name else "", port, type=socket.SOCK_DGRAM)[0]
        except (OSError, UnicodeError, ValueError) as error:
            raise OSError(errno.EINVAL, getattr(error, "strerror", "") or str(error), host) from None
        family, remote = found[0], found[4]
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.connect(remote)
            own = asking.getsockname()[0]               # Asterisk: the address from which it is reached (ast_ouraddrfor)
        self.start()
        with contextlib.ExitStack() as stack:
            sock = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            for port in itertools.islice(self.ports, len(RTP_PORTS)):
                with contextlib.suppress(OSError):
                    sock.bind((own, port))
                    break
            else:
                raise OSError(errno.EADDRINUSE, "no port is free for it", host)
            sock.setblocking(False)
            line = RtpLine(sock, remote, format_name)
            with self.starting:         # so that the end of the server finds them all
                if self.ari.is_closing or len(self.lines) >= MAX_RTP_LINES:
                    raise OSError(errno.EMFILE, "there is no more external media", host)
                self.lines.append(line)
            stack.pop_all()             # it stays open
        return line

    def run(self) -> None:
        """Carry audio until the server closes."""
        due = time.monotonic()
        for tick in itertools.count():
            due = max(due + FRAME_SECONDS, time.monotonic() - MAX_LATE_SECONDS)
            time.sleep(max(0.0, due - time.monotonic()))
            if self.ari.is_closing:
                return
            try:
                self.look_who_hears()
                self.carry(tick)
            except Exception:
                self.ari.warn("a fault of ari_ref in the audio: %s" % traceback.format_exc())

    def look_who_hears(self) -> None:
        """Have the model say anew who hears whom, and tell it who sends: by another thread, as the lock may be taken."""
        recently = time.monotonic() - SILENT_SECONDS
        states = [(line.voice, bool(line.coming.frames) or line.last_heard > recently, line.is_loud)
                  for line in self.lines if line.voice]
        news = [(voice, sends, sends and is_loud) for voice, sends, is_loud in states
                if (sends, sends and is_loud) != (voice.sends, voice.is_talking)]
        if self.asks and self.asks.done():
            self.version, self.asks = self.asks.result(), None
        if not self.asks and (news or self.version != self.ari.stasis.audio_version):
            def reckon(stasis: Stasis) -> int:
                for voice, *state in news:
                    if not voice.channel.is_over:
                        voice.set_state(*state)
                return stasis.route_audio()
            with contextlib.suppress(RuntimeError):     # the server is closing
                self.asks = self.ari.worker.submit(self.ari.change, reckon)

    def carry(self, tick: int) -> None:
        """20 ms of all lines."""
        now, poll = time.monotonic(), select.poll()
        for line in list(self.lines):
            is_over = line.voice.channel.is_over if line.voice else now - line.opened > UNUSED_SECONDS
            if is_over:
                line.sock.close()
                line.voice = None       # so that nothing of it is kept
                self.lines.remove(line)
            elif line.voice:
                poll.register(line.sock, select.POLLIN)
        ready = {number for number, _ in poll.poll(0)}
        for line in self.lines:
            if line.sock.fileno() in ready:
                line.take()
            if line.coming.frames or line.present:
                line.go_on()
        by_voice = {line.voice: line for line in self.lines if line.voice}
        for voice in list(self.ari.stasis.voices):
            frame = self.heard(voice, by_voice, tick)
            if frame and voice in by_voice:
                by_voice[voice].send(frame)
            elif frame:
                voice.received.add(as_carried(frame, "ulaw"))
                voice.heard += 1

    def heard(self, voice: Voice, lines: dict[Voice, RtpLine], tick: int) -> tuple[str, bytes] | None:
        """(format, payload) of what somebody hears now, ("", b"") for silence; None where nothing comes."""
        frame = None
        for speaker in voice.hears:
            line = lines.get(speaker)
            if line and line.present:
                return line.format, line.present
            said = speaker.says if speaker else ((), False)
            frames, goes_round = said
            if frames and speaker.said_since[0] is not said:
                speaker.said_since = said, tick
            if frames and (goes_round or tick - speaker.said_since[1] < len(frames)):
                return "ulaw", frames[(tick - speaker.said_since[1]) % len(frames)]
            frame = frame if line else ("", b"")
        return frame

    def close(self) -> None:
        """Send nothing more; Server.is_closing is set."""
        if self.thread and self.thread.is_alive():
            self.thread.join(2 * FRAME_SECONDS)
        with self.starting:
            for line in self.lines:
                line.sock.close()

class Phone:
    """A telephone of a Server, for tests: alice = server.phone("PJSIP/alice", context="stasis-demo"); alice.call("100").

    What it cannot do now is an AriError."""

    def __init__(self, server: Server, name: str, seen: float = 0) -> None:
        self.server, self.name, self.seen = server, name, seen          # the number of the last state that was waited for

    def found(self, stasis: Stasis) -> Endpoint:
        return existing(stasis.endpoints.get(self.name), "There is no telephone %s" % self.name)

    def show(self) -> dict:
        """name, state (of the device), context, callerId, channel_id, calls (the newest last): channel_id, name, state."""
        return self.server.change(lambda stasis: self.found(stasis).to_show())

    @property
    def channel_id(self) -> str:
        """Of its newest call, also when that is over; "" before the first."""
        return self.show()["channel_id"]

    def move(self, action: str, **given) -> Phone:
        """Do what /control/phones/NAME/ACTION does."""
        technology, _, resource = self.name.partition("/")
        self.seen = self.server.change(lambda stasis: next(stasis.serial))
        self.server.move_phone(technology, resource, action, **given)
        return self

    def call(self, extension: str, context: str = "") -> Phone:
        """Call an extension of a context, by default its own."""
        return self.move("call", extension=extension, context=context)

    def ring(self) -> Phone:
        return self.move("ring")

    def progress(self) -> Phone:
        """Early media."""
        return self.move("progress")

    def answer(self) -> Phone:
        return self.move("answer")

    def refuse(self, how: str = "busy") -> Phone:
        """busy, reject or unavailable."""
        return self.move(how)

    def digits(self, digits: str) -> Phone:
        return self.move("digits", digits=digits)

    def hold(self, is_on: bool = True) -> Phone:
        return self.move("hold" if is_on else "unhold")

    def talk(self, is_on: bool = True) -> Phone:
        return self.move("talk" if is_on else "silence")

    def wait(self, state: str, seconds: float = 5.0) -> Phone:
        """Wait until its newest call is in a state, "Up" or "Ringing", or some call has come to it since this object did or waited
        for something; "" until it has no call. AssertionError when it is not, AriError 400 for a state that there is not."""
        require(state in ("", "Down", "Ring", "Ringing", "Up"), 400, "A call is Down, Ring, Ringing or Up")
        def is_reached(stasis: Stasis) -> bool:
            phone = self.found(stasis)
            is_now = (phone.calls[-1].state if phone.calls else "") == state
            number = next((number for number, reached in phone.reached if number > self.seen and reached == state), 0)
            self.seen = max(self.seen, number)
            return is_now or number > 0
        def failure() -> str:
            calls = ", ".join(call["state"] for call in self.show()["calls"])
            return "%s is to be %s, and has %s" % (self.name, state or "without a call", calls or "no call")
        self.server.wait(is_reached, seconds, failure)
        return self

    def say(self, sound: str) -> Phone:
        """Say a sound once; it goes on while other things happen."""
        return self.move("say", sound=sound)

    def hang_up(self) -> Phone:
        return self.move("hangup")

@contextlib.contextmanager
def naming(option: str) -> Iterator[None]:
    """An AriError or OSError inside becomes a ConfigError that names the option."""
    try:
        yield
    except AriError as error:
        raise ConfigError(option, error.message) from None
    except OSError as error:
        raise ConfigError(option, "%s: %s" % (error.filename, error.strerror)) from None

def config_of(users: dict[str, str]) -> Config:
    """A Config of users who may write, by name and plain password; without any, all below /ari is 404."""
    config = Config(is_enabled=bool(users))
    for name, password in users.items():
        user = config.users[name.lower()] = User(name)
        user.password = password
    return config

class Journal:
    """The newest things that happened, by number. It changes under the lock; whoever adds tells of it when the lock is free."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self.entries: collections.deque[tuple] = collections.deque(maxlen=MAX_JOURNAL)
        self.numbers, self.newest, self.told = numbers, 0, 0            # the number of the newest, and of what was told last
        self.news, self.watchers = threading.Condition(), 0

    def add(self, size: int, *facts) -> None:
        """Keep the facts, unless so many characters are too many for what is there for each."""
        if size <= MAX_NOTED:
            number = next(self.numbers)
            self.entries.append((number, *facts))
            self.newest = number

    def tell(self) -> None:
        """Wake up those who wait for something new, if there is something."""
        if self.told != self.newest:
            with self.news:
                self.told = self.newest
                self.news.notify_all()

    def find(self, shown: Callable[[tuple], dict | None], since: int, count: int, seconds: float,
             is_over: Callable[[], bool]) -> list[dict]:
        """What shown(entry) makes of those behind number `since`, None apart, as soon as there are `count`, the time is over, or
        is_over() says so."""
        deadline, found = time.monotonic() + seconds, []
        while True:
            new = list(itertools.takewhile(lambda entry: entry[0] > since, reversed(list(self.entries))))
            since = new[0][0] if new else since
            found += filter(None, map(shown, reversed(new)))
            left = deadline - time.monotonic()
            if len(found) >= count or left <= 0 or is_over():
                return found
            with self.news:
                self.watchers += 1
                try:
                    if self.newest <= since:
                        self.news.wait(min(left, LOOK_SECONDS))
                finally:
                    self.watchers -= 1

def glob_matches(pattern: str, text: str) -> bool:
    """Whether `text` is as a pattern in which each * stands for any characters; it never looks back, as fnmatch of 3.8 does, which
    many a * keeps busy for ever."""
    first, *others = pattern.split("*")
    if not others:
        return pattern == text
    at, last = len(first), others.pop()
    for piece in others:
        found = text.find(piece, at)
        if found < 0:
            return False
        at = found + len(piece)
    return text.startswith(first) and text.endswith(last) and at + len(last) <= len(text)

def left_over(stasis: Stasis) -> str:
    """What is left of channels, bridges, playbacks and live recordings, the first of each; "" for nothing."""
    tables = {"channels": [channel.name for channel in stasis.channels.values()], "bridges": list(stasis.bridges),
              "playbacks": list(stasis.playbacks), "live recordings": list(stasis.live_recordings)}
    return "; ".join("%s %s" % (kind, ", ".join(names[:NEAREST_MISSES])) for kind, names in tables.items() if names)

CONTROL_ROUTES: dict[tuple, dict[str, Operation]] = {}  # the operations of a test, outside /ari

def strict_kind(data_type: str, convert: Callable[[str], object], pattern: str) -> Kind:
    """A Kind of words and JSON values that are as the pattern; ValueError for all else."""
    def read(value) -> object:
        if isinstance(value, (dict, list)) or not re.fullmatch(pattern, str(value), re.ASCII | re.IGNORECASE | re.DOTALL):
            raise ValueError("%s is no %s" % (value, data_type))
        return convert(str(value))
    return Kind(data_type, read, read)

CONTROL_KINDS = {                       # by the annotation of an argument
    "str": strict_kind("text", str, ".*"), "int": strict_kind("whole number", int, "[0-9]{1,9}"), "dict": Document,
    "float": strict_kind("number", float, SECONDS_PATTERN),
    "bool": strict_kind("yes or no", lambda word: is_true(word.lower()), "|".join(sorted(TRUE_WORDS | FALSE_WORDS)))}

def over_http(place: str) -> Callable:
    """Declare the method of Bench below as the operation "METHOD /path", too: its arguments are the parameters, by their
    annotations, its docstring is the summary, and what it raises is the answer; 408 for an AssertionError."""
    def declare(method: Callable) -> Callable:
        code, (verb, path) = method.__code__, place.split()
        names = code.co_varnames[1:code.co_argcount + code.co_kwonlyargcount]
        defaults = dict(zip(reversed(code.co_varnames[:code.co_argcount]), reversed(method.__defaults__ or ())))
        defaults.update(method.__kwdefaults__ or {})
        kinds = {name: parameter(name, CONTROL_KINDS[method.__annotations__[name].partition(" ")[0]], path)._replace(
            absent=defaults.get(name, ABSENT)) for name in names}
        summary = " ".join(method.__doc__.partition(".")[0].split())
        declared = Operation(verb, path, summary, method.__name__, "object", [], method, kinds, {}, True)
        route_to(path, CONTROL_ROUTES)[verb] = declared
        return method
    return declare

def resolve_control(request: Request) -> Callable[[Stasis], object]:
    """What answers a request outside /ari: a method of the server, without the lock. AriError 404, 405; 400 for a parameter that
    is not known, is missing, or is no value of its kind."""
    operations, values = find_route(request.head.path.lstrip("/"), CONTROL_ROUTES)
    declared = existing(operations.get(request.head.method), "Invalid method", 405)
    kinds = {kind.name: kind for kind in declared.parameters.values() if kind.where != "path"}
    given = {name for name, _ in request.pairs}
    if isinstance(request.json, dict) and all(kind.where != "document" for kind in kinds.values()):
        request.json = {name: value for name, value in request.json.items() if value is not None}      # null is as not given
        given.update(request.json)
    unknown = ", ".join(name for name in sorted(given.difference(kinds)) if name.lower() != "api_key")
    require(not unknown, 400, "There is no %s here, but %s" % (readable(unknown), ", ".join(kinds) or "nothing"))
    try:
        arguments = parse_parameters(declared, request, values)
    except ValueError as error:
        raise AriError(400, readable(str(error))) from None
    for name, value in arguments.items():
        require(value is not ABSENT, 400, "%s is missing" % name)
    require_utf8(arguments)
    if "wait" in arguments:
        arguments["wait"] = min(arguments["wait"], MAX_WAIT_SECONDS)
    def work(server: Server) -> object:
        try:
            value = declared.run(arguments, server)
        except AssertionError as error:
            raise AriError(408, str(error)) from None
        if isinstance(value, bytes):
            return Response(200, content=("Content-type", "application/octet-stream", value))
        is_vain = isinstance(value, list) and arguments.get("wait") and len(value) < arguments["count"]
        return Response(408, value) if is_vain else value
    return lambda stasis: Later(work, lambda stasis, result: result, allocation_failed(), is_file=False)

def readable(value) -> object:
    """A text without bytes that are no UTF-8; anything else as it is."""
    return encode(value).decode(errors="replace") if isinstance(value, str) else value

def path_matches(pattern: str, path: str) -> bool:
    """Whether a raw path is as a pattern such as /channels/*/play, in which a * stands for a part of it; "" is for all."""
    parts, segments = pattern.split("/"), [percent_decode(segment) for segment in path.split("/")]
    return not pattern or len(parts) == len(segments) and all(map(glob_matches, parts, segments))

def is_operation(method: str, pattern: str) -> bool:
    """Whether some operation of ARI has the method and a path as the pattern; "" is for all."""
    parts = pattern.split("/")[1:]
    return any((not pattern or len(route) == len(parts) and all(
        segment is None or glob_matches(part, segment) for part, segment in zip(parts, route)))
        and (method in operations if method else operations) for route, operations in ROUTES.items())

class Bench:
    """What a test may do with a Server besides: see, wait, let things fail, move the time, begin anew.

    All of it is outside the model, belongs to the lock as that does, and is changed by change()."""

    def __init__(self, keeps_journal: bool, speed: float) -> None:
        self.keeps_journal, self.first_speed = keeps_journal, speed
        numbers = itertools.count(1)                    # of both, so that they tell what came after what
        # Of requests (number, time, head, body, status, value), of events (number, time, type, names, text).
        self.asked, self.sent = Journal(numbers), Journal(numbers)
        self.faults: list[dict] = []
        self.mended, self.era = 0, 0                    # how often the faults were cleared, and all was
        self.thawed: list[Outbox] = []                  # in which frames may wait
        self.clock = time.time() - speed * time.monotonic(), speed      # replaced whole: what to add, and seconds a second

    # To see, and to wait

    def is_over(self, era: int) -> bool:
        """Whether who waits in this thread need not wait any longer: all was reset, the server closes, or the client has left."""
        served = getattr(self.crew.own, "connection", None)
        return era != self.era or self.is_closing or bool(served and served.stream.has_left())

    @over_http("GET /control/requests")
    def requests(self, method: str = "", path: str = "", since: int = 0, wait: float = 0.0, count: int = 1) -> list[dict]:
        """The requests to /ari in order, or wait until there are so many. Each has number, time, user, method, path, target and
        body as they came, parameters by name, status, error.

        `path` is as in "/channels/*/play", where a * stands for no slash. A request stands there when it is done, before the
        events of what it did. At most 10,000 are kept. It waits until `count` are there; `since`: only behind that number."""
        def shown(entry: tuple) -> dict | None:
            number, moment, head, body, status, value = entry
            request = Request(head, body, self.http.prefix)
            asked = "/" + percent_decode(request.path)
            if method.upper() not in ("", head.method) or not path_matches(path, "/" + request.path):
                return None
            with contextlib.suppress(AriError):         # which was its answer
                read_parameters(request)
            user, parameters = credentials(request) or ("", ""), dict(request.pairs)
            parameters.update(request.json if isinstance(request.json, dict) else {})
            parameters.pop("api_key", None)
            parameters = {readable(name): readable(value) for name, value in parameters.items()}
            return {"number": number, "time": ari_timestamp(moment), "user": readable(user[0]), "method": head.method,
                    "path": readable(asked), "target": masked_text(head.target), "body": masked_text(decode(body)),
                    "parameters": parameters, "status": status, "error": None if value is NO_BODY else value}
        return self.asked.find(shown, since, count, wait, functools.partial(self.is_over, self.era))

    @over_http("GET /control/events")
    def sent_events(self, type: str = "", application: str = "", since: int = 0, wait: float = 0.0, count: int = 1) -> list[dict]:
        """The events sent, in order, or wait until there are so many. Each has number, time, applications, event. Else as
        requests(); they share the numbers."""
        def shown(entry: tuple) -> dict | None:
            number, moment, kind, names, text = entry
            if type not in ("", kind) or application and application not in names:
                return None
            event = json.loads(text)
            event.setdefault("application", names[0])
            stamp = event.get("timestamp")
            stamp = stamp if isinstance(stamp, str) else ari_timestamp(moment)
            return {"number": number, "time": stamp, "applications": list(names), "event": event}
        return self.sent.find(shown, since, count, wait, functools.partial(self.is_over, self.era))

    def events(self, type: str = "", application: str = "") -> list[dict]:
        """The events themselves, in order."""
        return [item["event"] for item in self.sent_events(type, application)]

    def wait_for(self, method: str, path: str = "", seconds: float = 5.0, count: int = 1, since: int = 0) -> dict:
        """Wait for a request, or for so many; the last of them. AssertionError that shows what was asked for instead."""
        found = self.requests(method, path, since, seconds, count)
        if len(found) >= count:
            return found[-1]
        others = ["%(method)s %(path)s %(status)d" % asked for asked in self.requests()[-NEAREST_MISSES:]]
        raise AssertionError("%d of %d requests %s %s after %g s; asked were last: %s" % (
            len(found), count, method, path, seconds, ", ".join(others) or "none"))

    def wait_for_event(self, type: str, application: str = "", seconds: float = 5.0, count: int = 1, since: int = 0) -> dict:
        """Wait until an event was sent, or so many; the last of them. AssertionError that shows what was sent instead."""
        found = self.sent_events(type, application, since, seconds, count)
        if len(found) >= count:
            return found[-1]["event"]
        others = [str(event.get("type", "?")) for event in self.events("", application)[-NEAREST_MISSES:]]
        raise AssertionError("%d of %d events %s after %g s; sent were last: %s" % (
            len(found), count, type, seconds, ", ".join(others) or "none"))

    def wait(self, condition: Callable[[Stasis], object], seconds: float = 5.0,
             failure: Callable[[], str] = lambda: "it is not so") -> None:
        """Wait until condition(model) holds; AssertionError, with the words that failure() gives, when it does not in time."""
        deadline, era = time.monotonic() + seconds, self.era
        while not self.change(condition):
            if time.monotonic() >= deadline or self.is_over(era):
                raise AssertionError("%s after %g s" % (failure(), seconds))
            time.sleep(WAIT_SECONDS)

    def wait_for_application(self, name: str, seconds: float = 5.0) -> None:
        """Wait until somebody listens as the application `name`."""
        self.wait(lambda stasis: stasis.active_application(name), seconds, lambda: "nobody listens as %s" % name)

    def wait_until_quiet(self, seconds: float = 5.0) -> None:
        """Wait until no channel, bridge, playback or live recording is left."""
        self.wait(lambda stasis: not left_over(stasis), seconds, lambda: "left: " + self.change(left_over))

    # Telephones, and what they and programs hear

    def phone(self, name: str, **properties) -> Phone:
        """A telephone TECHNOLOGY/NAME, as put_phone() makes it."""
        technology, _, resource = name.partition("/")
        self.put_phone(technology, resource, **properties)
        if not self.timer_thread:       # those from before the start stay for ever
            self.first_phones[technology, resource] = properties
        return self.find_phone(name)

    @over_http("PUT /control/phones/{tech}/{resource}")
    def put_phone(self, tech: str, resource: str, *, context: str = "", caller_id: str = "", registered: bool = True,
                  answers: float | None = None, refuses: str = "") -> Response:
        """Make a telephone, or give one that is there other properties; what is not given is as at first. When it is called it
        `answers` after so many seconds, or `refuses`: busy, reject, unavailable; else it waits to be told, even to ring."""
        return self.move_phone(tech, resource, "put", context=context, caller_id=caller_id, registered=registered, answers=answers,
                               refuses=refuses)

    @over_http("DELETE /control/phones/{tech}/{resource}")
    def remove_phone(self, tech: str, resource: str) -> Response:
        """Remove a telephone; its calls go on."""
        return self.move_phone(tech, resource, "delete")

    @over_http("POST /control/phones/{tech}/{resource}/{action}")
    def use_phone(self, tech: str, resource: str, action: str, *, extension: str = "", context: str = "", digits: str = "",
                  sound: str = "") -> Response:
        """Let a telephone call an extension (in another context than its own), press digits, say a sound, or move its newest call.

        A call that reaches nobody has no channel_id."""
        require(action in ("call", "digits", "say", *PHONE_ACTIONS), 404, "Resource not found")
        return self.move_phone(tech, resource, action, extension=extension, context=context, digits=digits, sound=sound)

    @over_http("GET /control/phones/{tech}/{resource}")
    def show_phone(self, tech: str, resource: str, state: str = "", wait: float = 0.0) -> dict:
        """A telephone and its calls, or wait until the newest is in a state, or there is none. AssertionError."""
        phone = self.find_phone("%s/%s" % (tech, resource))
        return (phone.wait(state, wait) if wait else phone).show()

    def find_phone(self, name: str) -> Phone:
        """A telephone that is there, of which nothing before now counts."""
        return Phone(self, name, self.change(lambda stasis: next(stasis.serial)))

    def move_phone(self, technology: str, resource: str, action: str, **given) -> Response:
        """Let a telephone do something, as the function of that name says."""
        if action in ("say", "talk"):   # until then nobody can hear anything
            with contextlib.suppress(OSError):
                self.rtp.start()
        return self.perform(lambda stasis: move_phone(stasis, technology, resource, action, given))

    @over_http("GET /control/media/{channelId}")
    def media(self, channel_id: str) -> dict:
        """What went over a channel of a telephone or of external media. AriError 404 for another."""
        return self.change(lambda stasis: media_json(stasis, channel_id))

    @over_http("GET /control/media/{channelId}/received")
    def received(self, channel_id: str) -> bytes:
        """The last 30 s of what a program has sent, in its format, or of what a telephone has heard, in ulaw. AriError 404."""
        return self.change(lambda stasis: received_media(stasis, channel_id))

    # To let things fail

    @over_http("POST /control/faults")
    def add_fault(self, method: str = "", path: str = "", *, times: int = 0, status: int = 0, message: str = "Injected",
                  delay: float = 0.0, drop: bool = False, after: bool = False) -> dict:
        """Let the next requests fail that ARI would take, so many times, or for ever: with a status, late, or without an answer.
        The path is as in requests(). AriError 400 for a fault that would do nothing, or would hit nothing."""
        require(bool(status or delay or drop) and not (status and drop), 400, "A fault has a status or drop, or a delay alone")
        require(not status or status in range(200, 600), 400, "A status is from 200 to 599")
        require(times >= 0 <= delay and len(method + path + message) <= MAX_FAULT_CHARS, 400, "Less than 0, or too long a text")
        require(is_operation(method.upper(), path), 400, "ARI has no %s %s" % (method or "operation", path))
        require_utf8(method, path, message)
        fault = {"method": method.upper(), "path": path, "times": times, "status": status, "message": message,
                 "delay": delay, "drop": drop, "after": after}
        def add(stasis: Stasis) -> dict:
            require(len(self.faults) < MAX_FAULTS, 400, "More than %d faults" % MAX_FAULTS)
            self.faults.append(fault)
            return dict(fault)
        return self.change(add)

    def fail(self, method: str, path: str, status: int = 500, *, message: str = "Injected", times: int = 0) -> None:
        """Answer with a status, and do nothing."""
        self.add_fault(method, path, times=times, status=status, message=message)

    def delay(self, method: str, path: str, seconds: float, *, times: int = 0) -> None:
        """Wait for so long, of the server's clock, before it is done."""
        self.add_fault(method, path, times=times, delay=seconds)

    def drop(self, method: str, path: str, *, after: bool = False, times: int = 0) -> None:
        """End the connection without an answer, before the request is done, or after."""
        self.add_fault(method, path, times=times, drop=True, after=after)

    @over_http("GET /control/faults")
    def list_faults(self) -> list[dict]:
        """The faults that are still to come."""
        return self.change(lambda stasis: [dict(fault) for fault in self.faults])

    @over_http("DELETE /control/faults")
    def clear_faults(self) -> None:
        """Forget all faults; what is being delayed goes on."""
        def clear(stasis: Stasis) -> None:
            self.faults.clear()
            self.mended += 1
        self.change(clear)

    def next_fault(self, head: Head) -> dict | None:
        """The first fault that a request to /ari has to suffer; it counts."""
        path = ari_path(head, self.http.prefix)
        def take(stasis: Stasis) -> dict | None:
            fault = next((fault for fault in self.faults if fault["method"] in ("", head.method) and
                          path_matches(fault["path"], "/" + path)), None)
            if fault and fault["times"]:
                fault["times"] -= 1
                if not fault["times"]:
                    self.faults.remove(fault)
            return fault
        return self.change(take) if path is not None else None

    def suffer(self, fault: dict) -> None:
        """What a fault does before the request is done: AriError, or Gone, also where all is reset meanwhile.

        Nobody waits for a client that leaves meanwhile: then it is done at once, as a slow server would do it in the end."""
        if fault["delay"] and not self.crew.give_way():
            raise allocation_failed()
        until, mended, era = self.now() + fault["delay"], self.mended, self.era
        while self.now() < until and mended == self.mended and not self.is_over(era):
            time.sleep(WAIT_SECONDS)
        if era != self.era or self.is_closing:
            raise Gone
        if fault["status"]:
            phrase = http.HTTPStatus(fault["status"]).phrase if fault["status"] in set(http.HTTPStatus) else "Injected"
            raise AriError(fault["status"], None if fault["status"] in BODYLESS else fault["message"], phrase)
        if fault["drop"] and not fault["after"]:
            raise Gone

    @over_http("GET /control/sockets/{application}")
    def show_socket(self, application: str, wait: float = 0.0) -> dict:
        """Whether somebody hears an application, or wait until somebody does. AssertionError when nobody does."""
        if wait:
            self.wait_for_application(application, wait)
        return {"application": application, "heard": self.change(lambda stasis: stasis.active_application(application)) is not None}

    def event_socket(self, stasis: Stasis, application: str) -> EventSocket:
        """The socket that hears an application: AriError 404."""
        return existing(stasis.active_application(application), "Nobody hears the application").socket

    @over_http("DELETE /control/sockets/{application}")
    def drop_events(self, application: str, code: int = 0) -> None:
        """End the event socket that holds an application, with a close code, or without a word; nobody hears it from then on."""
        is_known = code in (0, ABNORMAL) or any(code in codes for codes in SENDABLE_CLOSE_CODES)
        require(is_known, 400, "%d is no close code" % code)
        self.change(lambda stasis: self.event_socket(stasis, application)).end(0 if code == ABNORMAL else code)

    @over_http("POST /control/sockets/{application}/freeze")
    def freeze_events(self, application: str, seconds: float) -> None:
        """Send nothing to the event socket of an application for so long, of the server's clock, from now on."""
        def freeze(stasis: Stasis) -> None:
            outbox = self.event_socket(stasis, application).outbox
            if outbox.thawing:
                outbox.thawing.cancel()
            outbox.thawing = Timer(stasis)
            outbox.thawing.set(seconds, lambda: self.thaw(outbox))
        require(0 <= seconds <= DAY_SECONDS, 400, "A freeze lasts a day at most")
        self.change(freeze)

    def thaw(self, outbox: Outbox) -> None:
        """Let it be written again; the lock is held."""
        outbox.thawing = None
        self.thawed.append(outbox)

    @over_http("POST /control/events/{application}")
    def emit(self, application: str, event: dict) -> None:
        """Send any JSON object to an application as an event, with the server's identity. AriError 400 for what is none."""
        try:
            event = load_json(dump_json(event).encode())
        except (TypeError, ValueError, RecursionError):
            event = None
        require(isinstance(event, dict), 400, "An event is a JSON object, over HTTP with its Content-type")
        self.change(lambda stasis: stasis.outbox.append((event, [(self.event_socket(stasis, application), application)])))

    # To move the time, and to begin anew

    def now(self) -> float:
        """Epoch seconds."""
        offset, speed = self.clock
        return offset + speed * time.monotonic()

    def move_clock(self, seconds: float, speed: float | None = None) -> None:
        """Move the time on, and let it pass at a speed from then on, None: as before."""
        def move(stasis: Stasis) -> None:
            passing = self.clock[1] if speed is None else speed
            self.clock = self.now() + seconds - passing * time.monotonic(), passing
            stasis.advance(self.now())
        self.change(move)
        self.due_earlier.set()

    @over_http("GET /control/clock")
    def show_clock(self) -> dict:
        """The time of the server, and how many of its seconds pass in one: 0 where it is moved by hand."""
        return {"time": ari_timestamp(self.now()), "epoch": self.now(), "speed": self.clock[1]}

    @over_http("PUT /control/clock")
    def set_clock(self, mode: str, speed: float = 1.0) -> None:
        """Let time pass by itself (real), at a speed, or only by advance (manual). AriError 400 for another word."""
        require(mode in CLOCK_MODES and 0 < speed <= DAY_SECONDS, 400, "A clock is real or manual, its speed 0 to 86400, but not 0")
        self.move_clock(0.0, speed if mode == "real" else 0.0)

    @over_http("POST /control/clock/advance")
    def advance(self, seconds: float) -> None:
        """Move the time on, by a day at most: all that falls due on the way happens in order, at its own time.

        What applications do about it happens meanwhile, or afterwards: what they begin, the next advance() moves."""
        require(0 <= seconds <= DAY_SECONDS, 400, "Time moves on, by a day at most")
        while seconds > 0:
            step = min(seconds, ADVANCE_SECONDS)
            self.move_clock(step)
            seconds -= step

    @over_http("GET /control/state")
    def state(self) -> dict:
        """What is there now, as ARI shows it, and what ARI does not list. `seconds` are how far a playback or recording is."""
        def look(stasis: Stasis) -> dict:
            sockets = [{"peer": event_socket.peer, "applications": [
                application.name for application in stasis.applications.values() if application.socket is event_socket]}
                for event_socket in self.event_sockets]
            return {"asterisk_id": self.entity_id, "prefix": self.http.prefix, "time": ari_timestamp(stasis.now),
                    "speed": self.clock[1], "faults": [dict(fault) for fault in self.faults], "sockets": sockets,
                    "applications": application_list(stasis),
                    "channels": channel_list(stasis), "bridges": bridge_list(stasis), "deviceStates": device_list(stasis),
                    "telephones": [phone.to_show() for phone in stasis.endpoints.values()],
                    "playbacks": [playback.to_show() for playback in itertools.chain.from_iterable(stasis.playbacks.values())],
                    "recordings": [recording.to_show() for recording in stasis.live_recordings.values()]}
        return self.change(look)

    def is_quiet(self) -> bool:
        """True when no channel, bridge, playback or live recording is left."""
        return not self.change(left_over)

    @over_http("GET /control/quiet")
    def show_quiet(self, wait: float = 0.0) -> dict:
        """Whether nothing is left, or wait until nothing is. AssertionError when something is."""
        if wait:
            self.wait_until_quiet(wait)
        return {"quiet": self.is_quiet()}

    @over_http("POST /control/reset")
    def reset(self, keep_sockets: bool = False) -> None:
        """Hang up and forget what was made since the start, but who listens where that is asked for. Telephones and recordings of
        before stay. The journal and the faults are empty, time passes as at first and does not go back; ids do not come again."""
        def begin_anew(stasis: Stasis) -> list[EventSocket]:
            stasis.hang_up_all()
            fresh = self.new_stasis(stasis)
            for event_socket in self.event_sockets if keep_sockets else ():
                if event_socket.outbox.thawing:
                    self.thaw(event_socket.outbox)
                held = [application for application in stasis.applications.values() if application.socket is event_socket]
                for application in held:
                    fresh.open_applications(event_socket, [application.name], application.all_of.issuperset(FOLLOWED_KINDS))
            self.stasis, self.era = fresh, self.era + 1
            self.faults.clear()
            self.mended += 1
            return [] if keep_sockets else list(self.event_sockets)
        ended = self.change(begin_anew)
        self.change(lambda stasis: (self.asked.entries.clear(), self.sent.entries.clear()))         # with the events of the end
        for event_socket in ended:
            event_socket.end()
        self.set_clock("real" if self.first_speed else "manual", self.first_speed or 1.0)

class Server(Bench):
    """ARI on sockets: the model, its lock, and the threads around it.

    `with Server(config, port=0) as server:` serves server.url from threads of its own until the block ends. `config` is a
    Config, None for one that was refused (then everything below /ari is 404); `address` and `port` win over those of
    `http_config`; `sounds` and `recordings` are folders; `users` (passwords by name) and `channelvars` do instead of a Config; with
    `control` it serves /control and the page, and `clock` may be "manual". ConfigError where it cannot listen, or a folder cannot
    be used."""

    def __init__(self, config: Config | None = None, address: str | None = None, port: int | None = None,
                 http_config: HttpConfig | None = None, sounds: str | None = None, recordings: str | None = None,
                 config_path: str | None = None, tls: ssl.SSLContext | None = None,
                 dialplan: DialplanConfig | None = None, users: dict[str, str] | None = None, channelvars: Iterable[str] = (),
                 control: bool = False, clock: str = "real", keeps_journal: bool = True) -> None:
        super().__init__(keeps_journal, CLOCK_MODES[clock])
        self.http = http_config or HttpConfig()
        self.http.has_control = self.http.has_control or control
        self.http.address = self.http.address if address is None else address
        self.http.port = self.http.port if port is None else port
        self.config, self.config_path = config or config_of(users or {}), config_path
        self.config.channelvars = list(channelvars) or self.config.channelvars
        self.lock = threading.Lock()    # of the model; only change() takes it
        self.files, self.worker = RecordingFiles(recordings), concurrent.futures.ThreadPoolExecutor(1, "files")
        self.rtp = Rtp(self)
        with naming("--sounds"):
            self.sounds = read_sounds(sounds) if sounds else Sounds()
        with naming("--recordings"):
            self.stored = self.files.found()
        self.dialplan, self.first_phones = dialplan, {}
        self.entity_id = secrets.token_bytes(ENTITY_ID_BYTES).hex(":")
        self.stasis = self.new_stasis()
        self.event_sockets: set[EventSocket] = set()
        self.sessions: dict[socket.socket, HttpConnection] = {}
        self.is_closing, self.wakes_at, self.due_earlier = False, math.inf, threading.Event()
        self.worker_id = 0              # of its thread
        self.warn_once = functools.lru_cache(MAX_TOLD)(logger.warning)
        self.timer_thread: threading.Thread | None = None
        self.listeners: list[Listener] = []
        self.listen(tls)
        self.crew = Crew(self)

    def new_stasis(self, before: Stasis | None = None) -> Stasis:
        """The model as it is at the start; after another one, with what that has still to tell, and ids that it did not give."""
        recordings = Recordings({name: dict(files) for name, files in self.stored.items()})
        stasis = Stasis(lambda: str(uuid.uuid4()), self.now(), self.sounds, recordings, self.entity_id)
        stasis.channelvars = self.config.channelvars or []
        if self.dialplan:               # over the contexts that are there without one
            stasis.dialplan.contexts.update(self.dialplan.contexts)
            stasis.global_variables.update(self.dialplan.globals)
        if not self.keeps_journal:      # nobody will look
            stasis.ended_voices = collections.deque(maxlen=0)
        if before:
            for name in ("outbox", "notes", "unique_ids", "pair_serial", "snoop_serial", "serial", "started"):
                setattr(stasis, name, getattr(before, name))
            stasis.audio_version = before.audio_version + 1             # so that whoever carries the audio asks anew
            made = [(name, files) for name, files in before.recordings.lengths.items() if name not in self.stored]
            recordings.work = before.recordings.work + [("remove", name, *files) for name, files in made]
        for (technology, resource), given in self.first_phones.items():
            put_phone(stasis, technology, resource, given)
        return stasis

    def listen(self, tls: ssl.SSLContext | None) -> None:
        """Bind all that http.conf asks for; ConfigError when that is nothing, or something that cannot be."""
        try:
            for host, port, is_tls in self.http.listeners():
                self.listeners.append(Listener(self, (host, port), tls if is_tls else None))
        except (OSError, OverflowError, TypeError, UnicodeError) as error:
            for listener in self.listeners:
                listener.server_close()
            hint = "; --port N takes another" if isinstance(error, OSError) and error.errno == errno.EADDRINUSE else ""
            raise ConfigError("%s port %d" % (host, port), "cannot serve here: %s%s" % (
                getattr(error, "strerror", "") or error, hint)) from None
        if not self.listeners:
            raise ConfigError("http.conf", "listens nowhere: [general] needs enabled = yes and a bindaddr, or tlsenable = yes")

    @property
    def ari_url(self) -> str:
        return self.url + "/ari"

    def events_url(self, application: str) -> str:
        """Where an application listens, with the name and password of the first user who may write, if that is plain."""
        users = self.config.users.values()
        user = next((user for user in users if not (user.is_read_only or user.is_crypted)), User(""))
        query = urllib.parse.urlencode({"app": application, "api_key": "%s:%s" % (user.name, user.password)})
        return "ws" + self.ari_url[len("http"):] + "/events?" + query

    @property
    def url(self) -> str:
        """What stands before /ari, of the first place where it listens."""
        host, port = self.listeners[0].server_address[:2]
        return "%s://%s:%d%s" % ("https" if self.listeners[0].tls else "http", "[%s]" % host if ":" in host else host, port,
                                 self.http.prefix)

    def __enter__(self) -> Server:
        self.start()
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def start(self) -> None:
        """Accept connections and let time go on, in threads of its own; RuntimeError after close()."""
        if self.is_closing or self.timer_thread:
            raise RuntimeError("this Server was closed, or started before: make another one")
        "".encode("idna")               # and what would need a file later, where there is none left
        if self.config.hashes:
            crypt_function()
        self.timer_thread = threading.Thread(target=self.run_timers, daemon=True)
        try:
            # So it is there before it is given work under the lock.
            self.worker_id = self.worker.submit(threading.get_ident).result()
            self.timer_thread.start()
            self.crew.start()
        except RuntimeError:            # no thread can be had
            self.close()
            raise

    def close(self) -> None:
        """End everything: connections, of event sockets without a close frame, as Asterisk does it, and threads."""
        self.is_closing = True
        for listener in self.listeners:
            Stream(listener.socket).shut_down()         # on Linux that wakes who leads at once
        for connection in list(self.sessions.values()):
            connection.stream.shut_down()
        self.due_earlier.set()
        self.asked.tell()
        self.sent.tell()
        self.rtp.close()
        deadline = time.monotonic() + CLOSING_SECONDS
        for thread in [*self.crew.threads, self.timer_thread]:
            if thread and thread.is_alive():            # one that was made just now has not begun
                thread.join(max(0.0, deadline - time.monotonic()))
        for connection in list(self.sessions.values()):                 # with those that came meanwhile
            connection.close()
        for listener in self.listeners:
            listener.server_close()
        if not self.crew.threads:
            self.crew.selector.close()
        self.worker.shutdown(wait=False)

    def change(self, action: Callable[[Stasis], object]):
        """What action(model) comes to. When the lock is free again its files are written, then its events sent and its faults
        logged."""
        outboxes, files, notes = [], (), []
        try:
            with self.lock:
                try:
                    self.stasis.advance(self.now())
                    return action(self.stasis)
                finally:
                    outboxes = self.pass_on()
                    files = self.give_files() if self.stasis.recordings.work else ()
                    notes, self.stasis.notes = self.stasis.notes, []
        finally:
            if files and threading.get_ident() == self.worker_id:       # which cannot wait for itself: behind them, then
                self.worker.submit(self.tell, outboxes, notes)
            else:
                if files:
                    self.crew.give_way()
                    concurrent.futures.wait(files, FILE_SECONDS)
                self.tell(outboxes, notes)

    def tell(self, outboxes: list[Outbox], notes: list[tuple[str, bool]]) -> None:
        """Let the world know what a change has come to."""
        for outbox in outboxes:
            outbox.flush()
        for journal in (self.asked, self.sent):
            if journal.watchers:
                journal.tell()
        for text, is_fault in notes:
            logger.error(text) if is_fault else self.warn(text)

    def pass_on(self) -> list[Outbox]:
        """Put the events of the model into the outboxes of those who hear them, which are then to be flushed.

        Each gets the server's identity at its end and, where it has no member of that name yet, the application's name."""
        outboxes, self.thawed = self.thawed, []
        events, self.stasis.outbox = self.stasis.outbox, []
        for event, hearers in events:
            self.stasis.attempt(functools.partial(self.put_event, event, hearers))
            outboxes += [event_socket.outbox for event_socket, _ in hearers]
        due = self.stasis.next_due()
        if due is not None and due < self.wakes_at:
            self.wakes_at = due
            self.due_earlier.set()
        return outboxes

    def put_event(self, event: dict, hearers: list[tuple[EventSocket, str]]) -> None:
        pretty = self.config.is_pretty
        event["asterisk_id"] = self.stasis.entity_id
        text = dump_json(event, pretty)
        if self.keeps_journal:
            self.sent.add(len(text), self.stasis.now, event.get("type"), tuple([name for _, name in hearers]), text)
        for event_socket, name in hearers:
            whole = text if "application" in event else add_member(text, "application", name, pretty)
            event_socket.outbox.put(encode_frame(Opcode.TEXT, whole.encode()))

    def give_files(self) -> list[concurrent.futures.Future]:
        """Hand what the model wants done with files to the one thread that does it, in that order."""
        recordings = self.stasis.recordings
        work, recordings.work = recordings.work, []
        return [self.worker.submit(self.do_file_work, recordings.changes[item[1]], *item)
                for item in work if self.files.folder and not self.is_closing]

    def do_file_work(self, changes: int, what: str, name: str, *rest) -> None:
        try:
            getattr(self.files, what)(name, *rest)
        except OSError as error:
            problem, left = error.strerror, self.files.lengths(name)
            self.change(lambda stasis: stasis.recording_lost(name, problem, left, changes))
            self.list_again(name)
        except Exception:
            logger.exception("a fault of ari_ref with the files of the recording %s", printable(name))

    def list_again(self, name: str, changes: int = -1) -> None:
        """See what is on the disk of a recording, behind all work with its files, and list that; called by the worker."""
        left = self.files.lengths(name)
        if not self.change(lambda stasis: stasis.recordings.relist(name, left, changes)):
            changes = self.change(lambda stasis: stasis.recordings.changes[name])
            with contextlib.suppress(RuntimeError):     # the server is closing
                self.worker.submit(self.list_again, name, changes)

    def warn(self, text: str) -> None:
        """Log a warning, each once; what a client has put into it may be long."""
        self.warn_once(masked_text(text[:MAX_TOLD_CHARS]))

    def run_timers(self) -> None:
        """Run what falls due, until the server closes."""
        def note_due(stasis: Stasis) -> None:
            due = stasis.next_due()
            self.wakes_at = math.inf if due is None else due
        while not self.is_closing:
            try:
                self.change(note_due)
            except Exception:
                logger.exception("a fault of ari_ref among the timers")
            speed = self.clock[1]
            seconds = (self.wakes_at - self.now()) / speed if speed else math.inf
            self.due_earlier.wait(max(0.0, min(seconds, MAX_TIMER_SECONDS)))
            self.due_earlier.clear()    # behind the wait, so that neither an earlier timer nor the end is overlooked

    def perform(self, call: Callable[[Stasis], object], note: Callable = lambda status, value: None) -> Response | Upgrade:
        """The response of a request that needs the model; AriError and HttpError for a refusal. Noted before anybody can see it."""
        def run(call: Callable[[Stasis], object], stasis: Stasis) -> Response | Upgrade | Later:
            try:
                response = answer(call, stasis)
            except (AriError, HttpError) as error:
                refused = refusal(error, self.http.server_name)
                note(refused.status, refused.value)
                raise
            if isinstance(response, Response):
                note(response.status, response.value)
            return response
        def begin(stasis: Stasis) -> tuple[Response | Upgrade | Later, concurrent.futures.Future | None, int]:
            response = run(call, stasis)
            if not isinstance(response, Later):
                return response, None, 0
            self.give_files()           # of what fell due before it
            work = self.worker.submit(response.work, self) if response.is_file else None
            return response, work, stasis.recordings.changes[response.changes]
        response, work, changes = self.change(begin)
        if not isinstance(response, Later):
            return response
        if not self.crew.give_way() and not response.is_file:           # which may take a minute
            raise response.refusal
        try:
            result = work.result() if work else response.work(self)
            while isinstance(result, Iterator) and self.worker.submit(next, result, False).result():
                if self.is_closing:
                    raise Gone
        except (ConfigError, OSError) as error:
            logger.error("%s: %s", response.refusal.message, printable(str(error)))
            if response.changes:
                self.worker.submit(self.list_again, response.changes, changes).result()
            raise response.refusal from None
        return self.change(lambda stasis: run(lambda stasis: response.then(stasis, result), stasis))

    def reload(self) -> None:
        """Read ari.conf again; ConfigError or OSError when it is refused, and the old configuration stays."""
        config = read_config(self.config_path) if self.config_path else self.config
        for warning in config.warnings:
            logger.warning(printable(warning))
        def take(stasis: Stasis) -> None:
            self.config, stasis.reloaded = config, stasis.now
            if config.channelvars is not None:          # Asterisk: a file without the option leaves them (channelvars_handler)
                stasis.channelvars = config.channelvars
        self.change(take)
        logger.info("%s was read again", self.config_path or "nothing")


# === 11. Command line ===
# Options, signals, exit status. Everything above can be used without this.

__version__ = "1.0"
CONFIG_PATHS = ("ari.conf", "/etc/asterisk/ari.conf")
USAGE_ERROR, FAILURE = 2, 1             # exit statuses
DEFAULT_URL = "http://asterisk:asterisk@127.0.0.1:8088/ari"
MAX_LOG_LINES, MAX_LOG_CHARS = 10_000, 2**24            # that wait for who reads stderr
ANY_ADDRESS = {"0.0.0.0", "::"}
LOG_SECONDS = 0.5                       # how long the end waits for them

class LogHandler(logging.Handler):
    """Writes lines in a thread of its own, as stderr may be a pipe that nobody reads; lines that find no room are lost."""

    def __init__(self) -> None:
        super().__init__()
        self.lines, self.is_new, self.is_written = collections.deque(), threading.Event(), threading.Event()
        self.put, self.taken = 0, 0     # characters: each is counted by one side only
        self.is_written.set()
        threading.Thread(target=self.write, daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if len(self.lines) < MAX_LOG_LINES and self.put - self.taken < MAX_LOG_CHARS:
            self.put += len(line)
            self.lines.append(line)
        self.is_written.clear()
        self.is_new.set()

    def write(self) -> None:
        while self.is_new.wait():
            self.is_new.clear()
            while self.lines:
                line = self.lines.popleft()
                self.taken += len(line)
                with contextlib.suppress(OSError, ValueError):          # of a full disk; the next one may be written
                    print(line, file=sys.stderr, flush=True)
            self.is_written.set()

def port_number(word: str) -> int:
    """A port of the command line; ValueError for what is none."""
    if not word.isdecimal() or int(word) > MAX_PORT:
        raise ValueError
    return int(word)

port_number.__name__ = "port"           # argparse: invalid port value

def command_line() -> argparse.ArgumentParser:
    """What may stand on it."""
    parser = argparse.ArgumentParser(
        prog="ari_ref.py", description="Asterisk %s's REST Interface, without Asterisk." % VERSION,
        epilog="Exit status: 0 ended by a signal, or nothing wrong; 1 it cannot be done, or --check has found something; 2 usage.")
    parser.add_argument("--etc", metavar="DIR",
                        help="folder with ari.conf and, if they are there, http.conf, extensions.conf and pjsip.conf")
    parser.add_argument("--config", metavar="FILE", help="ari.conf (default: %s, else %s)" % CONFIG_PATHS)
    parser.add_argument("--http-conf", metavar="FILE", help="Asterisk's http.conf; what the command line says wins")
    parser.add_argument("--extensions", metavar="FILE", help="Asterisk's extensions.conf: the dialplan of Local/EXTEN@CONTEXT")
    parser.add_argument("--bind", metavar="ADDRESS", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=port_number, metavar="N", help="port to listen on, 0 for a free one (default: 8088)")
    parser.add_argument("--prefix", metavar="/PATH", help="what stands before /ari in every URL")
    parser.add_argument("--sounds", metavar="DIR", help="sounds that exist, DIR/LANGUAGE/NAME.SUFFIX (default: every sound does)")
    parser.add_argument("--recordings", metavar="DIR", help="where recordings are stored (default: in memory)")
    parser.add_argument("--tls-cert", metavar="FILE", help="certificate chain, PEM: serve https")
    parser.add_argument("--tls-key", metavar="FILE", help="its private key (default: in the same file)")
    parser.add_argument("--control", action="store_true", help="serve a page at /, and below /control what a test may do")
    parser.add_argument("--phone", metavar="TECH/NAME[@CONTEXT]", action="append", default=[],
                        help="a telephone, such as PJSIP/alice@stasis-demo; may be given again and again")
    parser.add_argument("--log-level", default="warning", choices=("debug", "info", "warning", "error"),
                        help="warning (default): what an author of an application should know; info: a line per request; "
                             "debug: bodies and events")
    parser.add_argument("--check", action="store_true", help="print the effective configuration and its problems, then exit")
    parser.add_argument("--listen", metavar=("APP", "URL"), nargs="+",
                        help="be an application of any ARI server (default: %s), and print its events; "
                        "SSL_CERT_FILE names a CA of your own" % DEFAULT_URL)
    parser.add_argument("--pretty", action="store_true", help="with --listen: an event over several lines")
    parser.add_argument("--operations", action="store_true", help="print the table of operations, then exit")
    parser.add_argument("--version", action="version", version="ari_ref %s, the wire of Asterisk %s" % (__version__, VERSION))
    return parser

def main(arguments: list[str] | None = None) -> int:
    """Run the server until SIGTERM or SIGINT; the exit status."""
    options = command_line().parse_args(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")               # as stderr
    try:
        if options.listen:
            status = listen(*options.listen[:2], is_pretty=options.pretty)
        else:
            status = print_operations() if options.operations else run(options)
        print(end="", flush=True)       # also where there is no stdout
        return status
    except KeyboardInterrupt:           # while it begins
        return FAILURE
    except (ConfigError, OSError) as error:
        if isinstance(error, OSError):
            error = ": ".join(str(part) for part in (error.filename, error.strerror) if part)
        print("ari_ref: %s" % printable(str(error)), file=sys.stderr)
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())      # so that the end does not try to write again
        return FAILURE

def print_operations() -> int:
    for declared in itertools.chain.from_iterable(table.values() for table in (*OPERATIONS.values(), *CONTROL_ROUTES.values())):
        names = [kind.name for kind in declared.parameters.values() if kind.where in ("query", "body")]
        print("%-7s %-60s %s" % (declared.method, declared.path, declared.summary), *names and ["(%s)" % ", ".join(names)])
    return 0

def run(options: argparse.Namespace) -> int:
    """Check, or serve, what the options say."""
    paths = [os.path.join(options.etc, "ari.conf")] if options.etc else filter(os.path.exists, CONFIG_PATHS)
    path = options.config or next(iter(paths), None)
    if path is None or not os.path.exists(path):
        print("ari_ref: no configuration: %s; ari.conf.sample is one to start from (--config ari.conf.sample)" % (
            printable("%s is not there" % path if path else "neither %s nor %s is there" % CONFIG_PATHS)), file=sys.stderr)
        return USAGE_ERROR
    config, settings, problems = read_settings(path, options)
    tls = usable_tls(settings, problems, is_asked=bool(options.tls_cert))
    extensions = beside(options, options.extensions, "extensions.conf")
    dialplan = parse_file(parse_extensions, extensions) if extensions else None
    problems += dialplan.warnings if dialplan else []
    pjsip = beside(options, None, "pjsip.conf")
    found, warned = parse_file(parse_phones, pjsip) if pjsip else ((), ())
    problems += warned
    phones = [("PJSIP/" + name, *more) for name, *more in found]
    phones += [(*name.partition("@")[::2], "") for name in options.phone]
    if options.check:
        return check(config, settings, options, tls, problems, dialplan, phones)
    for problem in problems:
        print("ari_ref: %s" % printable(problem), file=sys.stderr)
    return serve(config, settings, path, options, tls, dialplan, phones)

def listen(application: str, url: str = DEFAULT_URL, is_pretty: bool = False) -> int:
    """Print the events of an application, one a line, as they come, until the server or SIGINT ends it."""
    parts = urllib.parse.urlsplit(url)
    is_tls = parts.scheme in ("https", "wss")
    port = parts.port or (443 if is_tls else 80)
    key, user = base64.b64encode(secrets.token_bytes(16)).decode(), urllib.parse.unquote(parts.netloc.rpartition("@")[0])
    head = "".join("%s\r\n" % line for line in (
        "GET %s/events?%s HTTP/1.1" % (parts.path.rstrip("/"), urllib.parse.urlencode({"app": application})),
        "Host: %s:%d" % (parts.hostname, port), "Authorization: Basic " + base64.b64encode(encode(user)).decode(),
        "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Protocol: ari",
        "Sec-WebSocket-Key: " + key))
    with socket.create_connection((parts.hostname, port)) as sock, contextlib.suppress(KeyboardInterrupt):
        if is_tls:                      # OpenSSL takes a CA of one's own from SSL_CERT_FILE
            sock = ssl.create_default_context().wrap_socket(sock, server_hostname=parts.hostname)
        sock.sendall(encode(head + "\r\n"))
        data = b""
        while HEAD_END not in data:
            more = sock.recv(RECEIVE_BYTES)
            if not more:
                raise OSError(errno.ECONNRESET, "it ended the connection", parts.hostname)
            data += more
        answered, _, data = data.partition(HEAD_END)
        if b" 101 " not in answered.partition(b"\r\n")[0] or accept_key(key).encode() not in answered:
            raise OSError(errno.EPROTO, decode(answered.partition(b"\r\n")[0]), parts.hostname)
        parser = FrameParser(is_client=True)
        while not parser.is_closed:
            for _, payload in parser.receive(data):
                print(dump_json(load_json(payload), is_pretty), flush=True)
            sock.sendall(parser.to_send())
            data = b"" if parser.is_closed else sock.recv(RECEIVE_BYTES)
            if not data:
                break
    return 0

def beside(options: argparse.Namespace, given: str | None, name: str) -> str | None:
    """The file that was given, else one of that name in --etc, if there is one."""
    found = os.path.join(options.etc, name) if options.etc else ""
    return given or (found if found and os.path.exists(found) else None)

def read_settings(path: str, options: argparse.Namespace) -> tuple[Config | None, HttpConfig, list[str]]:
    """ari.conf (None when it is refused), http.conf with the command line laid over it, and their problems."""
    problems, config = [], None
    if options.etc and not os.path.isdir(options.etc):
        raise ConfigError("--etc", "%s: no such folder" % options.etc)
    try:
        config = read_config(path)
        problems += config.warnings
    except ConfigError as error:
        problems.append("%s; the configuration is refused, there is nothing below /ari" % error)
    http_path = beside(options, options.http_conf, "http.conf")
    settings = parse_file(parse_http_config, http_path) if http_path else HttpConfig()
    problems += settings.warnings
    if options.tls_key and not options.tls_cert:
        raise ConfigError("--tls-key", "it needs --tls-cert")
    if options.tls_cert:
        settings.tls_certificate, settings.tls_key = options.tls_cert, options.tls_key or ""
        settings.where["tls_certificate"] = "--tls-cert"
    settings.address, settings.port = split_address(settings.address, settings.port)
    settings.tls_address, settings.tls_port = split_address(settings.tls_address, settings.tls_port)
    settings.address = settings.address if options.bind is None else options.bind
    settings.port = settings.port if options.port is None else options.port
    if options.tls_cert and not settings.has_tls:       # https in place of http
        settings.is_enabled, settings.has_tls = False, True
        settings.tls_address, settings.tls_port = settings.address, settings.port
    settings.prefix = settings.prefix if options.prefix is None else url_prefix(options.prefix)
    settings.has_control = options.control
    return config, settings, problems

def usable_tls(settings: HttpConfig, problems: list[str], is_asked: bool) -> ssl.SSLContext | None:
    """The context of the certificate, if TLS is wanted. Where it cannot be used HTTP is served alone (ast_ssl_setup), if it
    is served and the certificate was not `is_asked` for on the command line: else ConfigError."""
    try:
        return tls_context(settings) if settings.has_tls else None
    except ConfigError as error:
        settings.has_tls = False
        if is_asked or not settings.listeners():
            raise
        problems.append("%s; no https" % error)
        return None

def tls_context(settings: HttpConfig) -> ssl.SSLContext:
    """TLS by the certificate and key of http.conf or the command line; ConfigError says what is wrong with which file."""
    certificate, key = settings.tls_certificate, settings.tls_key or settings.tls_certificate
    where = settings.where.get("tls_certificate", "http.conf")
    wants = []
    for path in (certificate, key):
        try:
            read_file(path)
        except OSError as error:
            raise ConfigError(where, "%s: %s" % (path, error.strerror)) from None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(certificate, key, password=lambda: wants.append(key) or "")
    except (ssl.SSLError, ValueError) as error:
        if wants:
            raise ConfigError(where, "%s: the key wants a pass phrase, which nobody can give" % key) from None
        raise ConfigError(where, "%s: no certificate with its key, in PEM (%s)" % (certificate, error)) from None
    return context

def check(config: Config | None, settings: HttpConfig, options: argparse.Namespace, tls: ssl.SSLContext | None,
          problems: list[str], dialplan: DialplanConfig | None, phones: list[tuple[str, str, str]]) -> int:
    """Print what takes effect, never a password, and every problem; the exit status says whether there are any."""
    def yes_no(value: bool) -> str:
        return "yes" if value else "no"
    places = settings.listeners()
    for host, port, is_tls in places:
        print("listens on %s port %d, %s" % (printable(host), port, "https" if is_tls else "http"))
    hosts, ports = {host for host, _, _ in places}, {port for _, port, _ in places}
    if len(places) > len(ports) and ports != {0} and (len(hosts) == 1 or hosts & ANY_ADDRESS):
        problems.append("http.conf: http and https cannot both listen on port %d" % places[0][1])
    settings.port = settings.tls_port = 0               # any will do, as a server may be listening there now
    try:
        server = Server(config, http_config=settings, sounds=options.sounds, recordings=options.recordings, tls=tls,
                        dialplan=dialplan)
        with contextlib.closing(server):
            put_phones(server, phones)
    except (ConfigError, OSError) as error:
        problems.append(str(error) if isinstance(error, ConfigError) else "%s: %s" % (error.filename, error.strerror))
    print("prefix '%s', %d sessions" % (printable(settings.prefix), settings.session_limit))
    if config:
        print("enabled = %s\npretty = %s\nauth_realm = %s\nallowed_origins = %s\nchannelvars = %s\nwebsocket_write_timeout = %d" % (
            yes_no(config.is_enabled), yes_no(config.is_pretty), printable(config.auth_realm),
            printable(",".join(sorted(config.allowed_origins))), printable(",".join(config.channelvars or [])),
            config.write_timeout_ms))
        for user in config.users.values():
            print("user %s: %s, %s password" % (printable(user.name), "read-only" if user.is_read_only else "may write",
                                                "no" if not user.password else "crypted" if user.is_crypted else "plain"))
    print(end="", flush=True)
    for problem in problems:
        print("ari_ref: %s" % printable(problem), file=sys.stderr)
    return FAILURE if problems else 0

def has_terminal() -> bool:
    """Whether there is a terminal that this process belongs to; false, too, when it has been closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
        return True
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)        # which tell nothing of it

def put_phones(server: Server, phones: list[tuple[str, str, str]]) -> None:
    """Make the telephones of --phone and pjsip.conf; ConfigError for one that cannot be."""
    for name, context, caller_id in phones:
        with naming("telephone %s" % name):
            server.phone(name, context=context, caller_id=caller_id)

def serve(config: Config | None, settings: HttpConfig, path: str, options: argparse.Namespace, tls: ssl.SSLContext | None,
          dialplan: DialplanConfig | None, phones: list[tuple[str, str, str]]) -> int:
    """Serve until SIGTERM or SIGINT; SIGHUP reads ari.conf again, unless it says that the terminal is gone."""
    server = Server(config, http_config=settings, sounds=options.sounds, recordings=options.recordings, config_path=path, tls=tls,
                    dialplan=dialplan, keeps_journal=settings.has_control)
    try:
        put_phones(server, phones)
    except ConfigError:
        server.close()
        raise
    signals = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)   # before any thread starts: only the wait below takes them
    handler = LogHandler()
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(message)s", handlers=[handler])
    gc.freeze()                         # the garbage collector need not look again at what stays for ever
    had_terminal = has_terminal() and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN         # as nohup leaves it
    with server:
        print("%s/ari" % printable(server.url), flush=True)
        while signal.sigwait(signals) == signal.SIGHUP and not (had_terminal and not has_terminal()):
            try:
                server.reload()
            except (ConfigError, OSError) as error:
                logger.error("%s; the old configuration stays", printable(str(error)))
    handler.is_written.wait(LOG_SECONDS)
    return 0

if __name__ == "__main__":
    sys.exit(main())
