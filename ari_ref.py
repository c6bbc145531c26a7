#!/usr/bin/env python3
"""Asterisk 16's REST Interface (ARI) in one file: exact on the wire, with a small Stasis model in memory behind it.

It is a stand-in for Asterisk 16.30.1 where applications of ARI are written, tested and taught: calls are made, answered, bridged,
recorded and hung up with nothing but HTTP, and every status line, header, error text and event is Asterisk's. It is not a
telephone system: no audio is mixed or sent, nobody outside can be called, and it belongs on no open network.

Three ways in:

    use it                              section 12, and the README: python3 ari_ref.py --config ari.conf.sample
    see how a request is answered       section 10: admit(), which needs no model, then answer(), which does
    learn WebSocket                     section 5, which needs only the limits and errors of section 1

Sections, in the order of what they need:

     1. Terms, limits, errors           words and numbers; AriError, HttpError, ConfigError, WebSocketError
     2. Configuration                   ari.conf and http.conf to Config and HttpConfig; crypt(3)
     3. JSON and time                   the only dumper, reader and clock format
     4. HTTP rules                      heads, bodies, credentials, CORS; Request and Response
     5. WebSocket                       RFC 6455: handshake, frames, one connection's state
     6. Stasis model                    applications, channels, bridges, playbacks, recordings, device states, mailboxes
     7. Declarations                    how an operation and its parameters are declared
     8. Data models                     the models of the API description, as rows
     9. Operations                      the 98, each declared above its behaviour
    10. Answering                       admit(), answer(), the tree of paths, the API description
    11. Server                          sockets, threads, timers, the lock
    12. Command line                    options, signals, exit status

The arrow rule: a section uses names of the sections above it only (annotations apart).

The lock rule: Stasis is a plain object, and whoever calls it holds Server.lock. It is taken in four places, all in section
11: around answer(), when timers are due, when an event socket opens, when one ends. Under it nobody touches a socket,
sleeps or waits. Events go into the queue of each event socket under the lock, so that every application sees them in
one order; the socket's own writer thread sends them without it.

Marks in comments: "RFC 6455 5.5.2: ..." a rule by its number; "Asterisk: ..." behaviour that is kept although it surprises;
"Not Asterisk: ..." a deliberate difference; "departure N" the same by its number in the README.
"""
from __future__ import annotations

import argparse
import base64
import codecs
import collections
import configparser
import email.utils
import enum
import functools
import glob
import hashlib
import heapq
import hmac
import http.server
import itertools
import json
import keyword
import logging
import math
import os
import queue
import re
import secrets
import select
import signal
import socket
import socketserver
import ssl
import string
import struct
import sys
import threading
import time
import urllib.parse
import uuid
import warnings
from typing import Callable, Iterator, NamedTuple

# === 1. Terms, limits, errors ===
# The words and numbers that more than one section uses. No behaviour lives here.

logger = logging.getLogger("ari_ref")

VERSION = "16.30.1"                     # of the Asterisk whose wire this is
SERVER_NAME = "Asterisk/" + VERSION

# Hangup causes (ITU-T Q.850) that ARI can give or meet, with Asterisk's wording.
CAUSE_TEXTS = {
    0: "Unknown", 1: "Unallocated (unassigned) number", 16: "Normal Clearing", 17: "User busy",
    18: "No user responding", 19: "User alerting, no answer", 21: "Call Rejected", 26: "Answered elsewhere",
    28: "Invalid number format", 31: "Normal, unspecified", 34: "Circuit/channel congestion",
    38: "Network out of order", 58: "Bearer capability not available", 127: "Interworking, unspecified",
}
HANGUP_REASONS = {                      # DELETE /channels/{channelId}?reason=..., in documented order
    "normal": 16, "busy": 17, "congestion": 34, "no_answer": 19, "timeout": 18, "rejected": 21, "unallocated": 1,
    "normal_unspecified": 31, "number_incomplete": 28, "codec_mismatch": 58, "interworking": 127, "failure": 38,
    "answered_elsewhere": 26,
}
NORMAL_CLEARING = HANGUP_REASONS["normal"]
DIAL_STATUS_OF_CAUSE = {17: "BUSY", 34: "CONGESTION"}       # every other cause ends an unanswered call as NOANSWER
SOFT_HANGUP_REQUESTED = 32              # flags, not causes: ChannelHangupRequest events with soft=true carry them
SOFT_HANGUP_DIALPLAN_ENDED = 16

MAX_LINE_BYTES = 4095                   # request line or header line, line end included (http.c)
MAX_FIELDS = 100                        # header fields of one request (http.c)
MAX_HEAD_BYTES = MAX_LINE_BYTES * (MAX_FIELDS + 1)
MAX_BODY_BYTES = 40960                  # form or JSON body (http.c)
MAX_CONTENT_LENGTH = 2**31 - 1          # also the largest chunk (departure: a length is never read modulo 2^32)
MAX_CREDENTIAL_BYTES = 255              # decoded user:password, and a configured password
MAX_REALM_BYTES = 79
MAX_ID_CHARS = 149                      # channel ids given to originate
MAX_LIST_ITEMS = 127                    # values of one list parameter
MAX_FRAME_BYTES = 65535                 # WebSocket frame with its head, and payload of a whole message
MAX_QUEUED_FRAMES = 10000               # events one socket may have waiting
HEAD_SECONDS = 30.0                     # a request head, from its first byte
HALF_FRAME_SECONDS = 9.0                # an unfinished WebSocket frame

UTF8_BOM = b"\xef\xbb\xbf"
TRUE_WORDS = frozenset(("yes", "true", "y", "t", "1", "on"))


def is_true(word: str) -> bool:
    """True for Asterisk's true words in any case (ast_true); everything else is false."""
    return word.lower() in TRUE_WORDS


def c_integer(word: str, bits: int = 32) -> int:
    """The number that C's atoi (32 bits) or atol (64) reads at the start of `word`; 0 where there is none."""
    match = C_INTEGER.match(word)
    return wrap_integer(max(-2**63, min(2**63 - 1, int(match.group(1)))), bits) if match else 0


def wrap_integer(number: int, bits: int = 32) -> int:
    """`number` cut to a signed integer of so many bits."""
    half = 1 << bits - 1
    return (number + half) % (1 << bits) - half


C_INTEGER = re.compile(r"[ \t-\r]*([+-]?[0-9]{1,4000})", re.ASCII)


def split_quoted(text: str, keep_brackets: bool = True) -> list[str]:
    """Split at commas outside quotes, parentheses and brackets; quotes and backslashes vanish (AST_STANDARD_APP_ARGS)."""
    items, item, depth, quoted, escaped = [], [], {"(": 0, "[": 0}, False, False
    for char in text:
        if escaped:
            item.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == "," and not (quoted or depth["("] or depth["["]):
            items.append("".join(item))
            item = []
        else:
            if char in "([":
                depth[char] += 1
            elif char in ")]":
                opening = "(" if char == ")" else "["
                depth[opening] = max(0, depth[opening] - 1)
            item.append(char)
    return items + ["".join(item)]


def is_utf8(text: str) -> bool:
    """False where `text` holds bytes that were no UTF-8 when they came in (they are kept as lone surrogates)."""
    return text.isascii() or not LONE_SURROGATE.search(text)


LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class AriError(Exception):
    """A refusal of the REST interface: status, reason phrase and the JSON that says why.

    `phrase` is given where Asterisk does not use the usual one; `member` is "error" in the few places where it is not
    "message"; without a message the answer has no body and no CORS headers; `close` ends the connection after it.
    """

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
    """A configuration that is refused whole; `where` is file:line."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__("%s: %s" % (where, problem))
        self.where, self.problem = where, problem


class WebSocketError(Exception):
    """A violation of RFC 6455 and the close code that answers it (section 7.4.1)."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__("%d %s" % (code, reason))
        self.code, self.reason = code, reason


PHRASES = {
    101: "Switching Protocols", 200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 400: "Bad Request",
    401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
    412: "Precondition Failed", 413: "Request Entity Too Large", 422: "Unprocessable Entity", 426: "Upgrade Required",
    500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable",
}


def require(condition: bool, status: int, message: str, phrase: str | None = None) -> None:
    """Refuse with an AriError unless `condition` holds."""
    if not condition:
        raise AriError(status, message, phrase)


def allocation_failed() -> AriError:
    """The answer of ari_response_alloc_failed(), which Asterisk also gives for much that is not about memory."""
    return AriError(500, "Allocation failed", member="error")


# === 2. Configuration ===
# The text of ari.conf and http.conf to Config and HttpConfig. Asterisk's dialect (templates, includes, block comments,
# "=>", "+=") is translated to plain INI here and configparser reads that. Also the one place that knows crypt(3).
# Rules: main/config.c, main/config_options.c, res/ari/config.c, main/http.c of Asterisk 16.30.1.

MAX_CONFIG_LINE_BYTES = 8191
MAX_INCLUDE_DEPTH = 10


class Section(NamedTuple):
    """One [name] of a file: its options in order as (name, value, where), where being file:line."""
    name: str
    is_template: bool
    options: list
    where: str


class ConfigReader:
    """Reads a file of Asterisk's dialect, includes and all, into `sections`.

    `files` maps each file that was looked at to (mtime in ns, size); `warnings` holds what was skipped.
    """

    def __init__(self, path: str) -> None:
        self.sections: list[Section] = []
        self.files: dict[str, tuple | None] = {}
        self.warnings: list[str] = []
        self.folder = os.path.dirname(os.path.abspath(path))
        self.read_file(path, None, 0)

    def read_file(self, path: str, section: Section | None, depth: int) -> None:
        """Read `path` into `section` until it opens sections of its own, which the including file does not see."""
        self.files[path] = file_stamp(path)
        with open(path, "rb") as file:
            data = file.read()
        for where, line in self.plain_lines(path, data[len(UTF8_BOM):] if data.startswith(UTF8_BOM) else data):
            if line.startswith("["):
                section = self.open_section(line, where)
            elif line.startswith("#"):
                self.directive(line[1:], where, section, depth)
            elif "=" not in line or line.lstrip("+=") == "" or line.startswith("="):
                self.warnings.append("%s: no 'name = value' here, ignored" % where)
            elif section is None:
                raise ConfigError(where, "an option before the first [section]")
            else:
                self.option(line, where, section)

    def plain_lines(self, path: str, data: bytes) -> Iterator[tuple[str, str]]:
        """Yield (where, line) of the lines that hold something, trimmed and without comments."""
        depth = opened = 0
        for number, raw in enumerate(data.split(b"\n"), 1):
            where = "%s:%d" % (path, number)
            if len(raw) > MAX_CONFIG_LINE_BYTES:
                self.warnings.append("%s: line over %d bytes, ignored" % (where, MAX_CONFIG_LINE_BYTES))
                continue
            before = depth
            line, depth = strip_comments(raw.decode("utf-8", "surrogateescape"), depth)
            opened = opened if before and depth else number
            if line.strip():
                yield where, line.strip()
        if depth:
            self.warnings.append("%s:%d: block comment without end, the rest of the file is lost" % (path, opened))

    def open_section(self, line: str, where: str) -> Section:
        """Handle [name], [name](!), [name](base,...) and [name](+); the name is kept untrimmed."""
        name, closed, rest = line[1:].partition("]")
        if not closed:
            raise ConfigError(where, "a '[' without its ']'")
        marks: list[str] = []
        if rest.startswith("("):
            inside, closed, _ = rest[1:].partition(")")
            if not closed:
                raise ConfigError(where, "a '(' without its ')'")
            marks = inside.split(",")
        if "+" in marks:
            return self.find_section(name, where)
        section = Section(name, "!" in marks, [], where)
        for base in marks:
            if base != "!":
                section.options.extend(self.find_section(base, where).options)
        self.sections.append(section)
        return section

    def find_section(self, name: str, where: str) -> Section:
        for section in self.sections:
            if section.name.lower() == name.lower():
                return section
        raise ConfigError(where, "no section [%s] before this line" % name)

    def directive(self, text: str, where: str, section: Section | None, depth: int) -> None:
        """Handle #include and #tryinclude of a file name or pattern, relative to the first file's folder."""
        word, _, argument = text.partition(" ")
        pattern = argument.strip().strip('"') if not argument.strip().startswith("<") else argument.strip()[1:].rstrip(">")
        if word.lower() not in ("include", "tryinclude") or not pattern:
            self.warnings.append("%s: directive #%s ignored" % (where, text))
            return
        paths = sorted(glob.glob(os.path.join(self.folder, pattern)))
        if depth >= MAX_INCLUDE_DEPTH:
            raise ConfigError(where, "includes nested deeper than %d" % MAX_INCLUDE_DEPTH)
        if not paths and word.lower() == "include":
            raise ConfigError(where, "the included file %s is not there" % pattern)
        for path in paths:
            self.read_file(path, section, depth + 1)

    def option(self, line: str, where: str, section: Section) -> None:
        """Add `name = value`, `name => value` or `name += more`."""
        name, _, value = line.partition("=")
        if name.endswith("+"):
            name = name[:-1].strip()
            for at in range(len(section.options) - 1, -1, -1):
                if section.options[at][0] == name:
                    section.options[at] = (name, section.options[at][1] + value, where)
                    return
        section.options.append((name.strip(), value[value.startswith(">"):].strip(), where))

    def read(self) -> Iterator[tuple[str, str, dict[str, tuple[str, str]]]]:
        """Yield (section name, where, {option in lower case: (value, where)}) of every section that is no template."""
        parser = configparser.RawConfigParser(delimiters=("=",), comment_prefixes=(), inline_comment_prefixes=None,
                                              strict=False, empty_lines_in_values=False, default_section="\n")
        real = [section for section in self.sections if not section.is_template]
        for number, section in enumerate(real):
            # Asterisk handles equal names one after the other: the number keeps them apart for configparser.
            parser.read_string("[%d]\n" % number + "".join("%s = %s\n" % option[:2] for option in first_types(section)))
        for number, section in enumerate(real):
            places = {name.lower(): where for name, _, where in section.options}
            yield section.name, section.where, {
                name: (value, places[name]) for name, value in parser.items(str(number))}


def first_types(section: Section) -> Iterator[tuple[str, str, str]]:
    """The options without further `type` lines: of several the first decides, of all else the last."""
    seen = False
    for option in section.options:
        if option[0].lower() != "type" or not seen:
            yield option
        seen = seen or option[0].lower() == "type"


def strip_comments(line: str, depth: int) -> tuple[str, int]:
    """`line` without `; ...` and without `;-- ... --;`, which nests and spans lines; and the depth after it."""
    kept, start, at = [], 0, line.find(";")
    while at >= 0:
        is_end = depth and at >= start + 2 and line[at - 2:at] == "--"
        if at > start and line[at - 1] == "\\":
            if not depth:
                kept.append(line[start:at - 1] + ";")
        elif line.startswith(";--", at) and not line.startswith("-", at + 3):
            if not depth:
                kept.append(line[start:at])
            depth, at = depth + 1, at + 2
        elif is_end:
            depth -= 1
        elif not depth:
            return "".join(kept) + line[start:at], 0
        start = at + 1
        at = line.find(";", start)
    return "".join(kept) + ("" if depth else line[start:]), depth


def file_stamp(path: str) -> tuple | None:
    """What changes when a file does: (mtime in ns, size), None when it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


class User:
    """Somebody who may log in: name, password (plain or a crypt(3) hash), and whether only reading is allowed."""
    __slots__ = ("name", "password", "is_crypted", "is_read_only", "proven")

    def __init__(self, name: str) -> None:
        self.name, self.password, self.is_crypted, self.is_read_only = name, "", False, False
        self.proven = b""               # digest of a word that crypt(3) has found to be right


class Config:
    """ari.conf as it takes effect: the defaults, until read_config() sets what the file says."""

    def __init__(self) -> None:
        self.is_enabled, self.is_pretty = True, False
        self.auth_realm = "Asterisk REST Interface"
        self.allowed_origins: frozenset[str] = frozenset()
        self.channelvars: list[str] | None = None       # None: the file does not say
        self.write_timeout_ms = 100
        self.users: dict[str, User] = {}                # by name in lower case
        self.decoy: str | None = None                   # the dearest hash: what checking an unknown user costs
        self.files: dict[str, tuple | None] = {}
        self.warnings: list[str] = []

    def set_general(self, name: str, value: str, where: str) -> None:
        if name == "enabled":
            self.is_enabled = is_true(value)
        elif name == "pretty":
            self.is_pretty = is_true(value)
        elif name == "auth_realm":
            self.auth_realm = cut_bytes(value, MAX_REALM_BYTES)
        elif name == "allowed_origins":
            self.allowed_origins = frozenset(value.split(",")) - {""}
        elif name == "channelvars":
            self.channelvars = list(dict.fromkeys(split_quoted(value))) if value else []
        elif name == "websocket_write_timeout":
            if not C_LITERAL.fullmatch(value) or not 1 <= c_literal(value) < 2**31:
                raise ConfigError(where, "websocket_write_timeout must be a whole number of ms from 1, not '%s'" % value)
            self.write_timeout_ms = c_literal(value)
        else:
            raise ConfigError(where, "unknown option '%s' in [general]" % name)

    def set_user(self, user: User, name: str, value: str, where: str) -> None:
        if name == "password":
            user.password = cut_bytes(value, MAX_CREDENTIAL_BYTES)
        elif name == "password_format":
            if value.lower() not in ("plain", "crypt"):
                raise ConfigError(where, "password_format must be plain or crypt, not '%s'" % value)
            user.is_crypted = value.lower() == "crypt"
        elif name == "read_only":
            user.is_read_only = is_true(value)
        elif name != "type":
            raise ConfigError(where, "unknown option '%s' in [%s]" % (name, user.name))


C_LITERAL = re.compile(r"[+-]?(0[xX][0-9a-fA-F]{1,16}|0[0-7]{0,22}|[1-9][0-9]{0,19})")


def c_literal(word: str) -> int:
    """An integer as C writes it: 16, 0x10 or 020."""
    digits = word.lstrip("+-")
    value = int(digits, 16 if digits[:2].lower() == "0x" else 8 if digits.startswith("0") else 10)
    return -value if word.startswith("-") else value


def cut_bytes(text: str, limit: int) -> str:
    return text.encode("utf-8", "surrogateescape")[:limit].decode("utf-8", "surrogateescape")


def read_config(path: str) -> Config:
    """ari.conf at `path` as Config; ConfigError when Asterisk would refuse the file, OSError when it cannot be read.

    A ConfigError carries the names of a `channelvars` line before the fault: Asterisk applies that line although it
    refuses the file (res/ari/config.c, channelvars_handler).
    """
    config = Config()
    reader = ConfigReader(path)
    config.files, config.warnings = reader.files, reader.warnings
    try:
        for name, where, options in reader.read():
            if name.lower() == "general":
                for option, (value, place) in options.items():
                    config.set_general(option, value, place)
                continue
            if options.get("type", ("", where))[0].lower() != "user":
                raise ConfigError(options.get("type", ("", where))[1], "[%s] needs type = user" % name)
            user = config.users.setdefault(name.lower(), User(name))
            for option, (value, place) in options.items():
                config.set_user(user, option, value, place)
    except ConfigError as error:
        error.channelvars = config.channelvars
        raise
    hashes = [user.password for user in config.users.values() if user.is_crypted and user.password]
    config.decoy = max(hashes, key=hash_cost, default=None)
    for user in config.users.values():
        if not user.password:
            config.warnings.append("%s: user '%s' has no password and cannot log in" % (path, user.name))
    if not config.users:
        config.warnings.append("%s: no users, nobody can log in" % path)
    return config


class HttpConfig:
    """http.conf [general] as it takes effect; times in seconds."""

    def __init__(self) -> None:
        self.is_enabled, self.address, self.port, self.prefix = True, "127.0.0.1", 8088, ""
        self.server_name, self.session_limit = SERVER_NAME, 100
        self.inactivity, self.keep_alive = 30.0, 15.0
        self.tls_address, self.tls_certificate, self.tls_key = None, None, None
        self.warnings: list[str] = []


def read_http_config(path: str) -> HttpConfig:
    """http.conf at `path`; what ARI has no use for is skipped with a warning."""
    config, tls = HttpConfig(), {}
    reader = ConfigReader(path)
    config.warnings, config.is_enabled = reader.warnings, False
    for section, where, options in reader.read():
        if section.lower() != "general":
            config.warnings.append("%s: [%s] ignored" % (where, section))
            continue
        for name, (value, where) in options.items():
            if name == "enabled":
                config.is_enabled = is_true(value)
            elif name in ("bindport", "sessionlimit", "session_inactivity", "session_keep_alive"):
                if not C_LITERAL.fullmatch(value) or not 0 <= c_literal(value) < 2**31:
                    raise ConfigError(where, "%s must be a whole number, not '%s'" % (name, value))
                number = c_literal(value)
                attribute, factor = {"bindport": ("port", 1), "sessionlimit": ("session_limit", 1),
                                     "session_inactivity": ("inactivity", 1e-3), "session_keep_alive": ("keep_alive", 1e-3)}[name]
                setattr(config, attribute, number * factor)
            elif name in ("bindaddr", "servername"):
                setattr(config, {"bindaddr": "address", "servername": "server_name"}[name], value)
            elif name == "prefix":
                config.prefix = "/" + value.strip("/") if value.strip("/") else ""
            elif name in ("tlsenable", "tlsbindaddr", "tlscertfile", "tlsprivatekey"):
                tls[name] = value
            else:
                config.warnings.append("%s: option '%s' ignored" % (where, name))
    if is_true(tls.get("tlsenable", "")):
        config.tls_address = tls.get("tlsbindaddr") or config.address
        config.tls_certificate = tls.get("tlscertfile")
        config.tls_key = tls.get("tlsprivatekey") or config.tls_certificate
    return config


def hash_cost(stored: str) -> int:
    """How dear checking `stored` is against other schemes, roughly in rounds of SHA-512."""
    match = HASH_SCHEME.match(stored)
    if not match:
        return 0
    scheme, parameter = match.group(1), match.group(2)
    if scheme in ("5", "6"):
        return int(parameter) if parameter else 5000
    return {"2b": 100_000, "y": 100_000, "gy": 100_000, "7": 100_000}.get(scheme, 1000)


HASH_SCHEME = re.compile(r"\$([0-9a-z]+)\$(?:rounds=([0-9]{1,9})\$)?")


@functools.lru_cache(maxsize=1)
def crypt_function():
    """The system's crypt(3) as a function (bytes, bytes) -> bytes or None; None where there is none."""
    if sys.version_info < (3, 13):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)     # 3.11 and 3.12 announce its removal
            import crypt
        def from_module(word: bytes, setting: bytes) -> bytes | None:
            hashed = crypt.crypt(word.decode("utf-8", "surrogateescape"), setting.decode("utf-8", "surrogateescape"))
            return hashed.encode("utf-8", "surrogateescape") if hashed else None
        return from_module
    import ctypes
    import ctypes.util
    name = ctypes.util.find_library("crypt")
    if not name:
        return None
    library = ctypes.CDLL(name)
    library.crypt_r.restype = ctypes.c_char_p
    library.crypt_r.argtypes = (ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p)

    def from_library(word: bytes, setting: bytes) -> bytes | None:
        return library.crypt_r(word, setting, ctypes.create_string_buffer(131_072))   # more than any struct crypt_data
    return from_library


def hash_password(word: str, setting: str) -> str:
    """crypt(3) of `word` with `setting`; "" where crypt fails or is missing, which no stored hash equals."""
    function = crypt_function()
    try:
        hashed = function and function(word.encode("utf-8", "surrogateescape"), setting.encode("utf-8", "surrogateescape"))
    except (OSError, ValueError):       # a scheme that crypt(3) does not know; a NUL in the word
        hashed = None
    return hashed.decode("utf-8", "surrogateescape") if hashed and not hashed.startswith(b"*") else ""


def password_matches(user: User | None, word: str, decoy: str | None) -> bool:
    """True when `word` is the password of `user`.

    Not Asterisk: the time taken does not tell who exists. Whoever is not checked by crypt(3) costs a crypt(3) with
    `decoy`, the dearest stored hash, unless the word is right.
    """
    given, stored = (item.encode("utf-8", "surrogateescape") for item in (word, user.password if user else ""))
    if user is not None and user.is_crypted and stored:
        digest = hmac.digest(PROOF_KEY, given, "sha256")
        if hmac.compare_digest(digest, user.proven):
            return True                 # a client sends its password with every request: crypt(3) runs for the first
        if not hmac.compare_digest(hash_password(word, user.password).encode("utf-8", "surrogateescape"), stored):
            return False
        user.proven = digest
        return True
    matches = hmac.compare_digest(given, stored) and bool(stored)
    if not matches and decoy:
        hash_password(word, decoy)
    return matches


PROOF_KEY = secrets.token_bytes(16)


# === 3. JSON and time ===
# The only dumper and the only clock format. jansson, which Asterisk uses, differs from Python's json in three things:
# upper-case \u00XX, reals with 17 digits, and what it refuses to read.

REAL_MARK = "\udfff"                    # a lone surrogate: no text that may be sent holds it


class Real:
    """A real number out of a request, kept as the text that jansson gives it (%.17g)."""
    __slots__ = ("text",)

    def __init__(self, digits: str) -> None:
        value = float(digits)
        if value in (float("inf"), float("-inf")):
            raise ValueError("real number overflow")
        text = "%.17g" % value
        self.text = EXPONENT.sub(r"e\1\2", text) if "e" in text else text if "." in text else text + ".0"


EXPONENT = re.compile(r"e\+?(-?)0*([0-9]+)")
ENCODE_AS = {"ensure_ascii": False, "default": lambda real: REAL_MARK + real.text}
COMPACT = json.JSONEncoder(separators=(",", ":"), **ENCODE_AS)
PRETTY = json.JSONEncoder(indent=2, separators=(",", ": "), **ENCODE_AS)
MARKED_REAL = re.compile('"%s([^"]*)"' % REAL_MARK)
CONTROL_ESCAPE = re.compile(r"\\(u00[01][0-9a-f]|.)")


def dump_json(value, pretty: bool = False) -> str:
    """`value` as jansson writes it: compact without blanks, or pretty with two blanks a level; no newline at the end."""
    text = (PRETTY if pretty else COMPACT).encode(value)
    if "\\u00" in text:
        text = CONTROL_ESCAPE.sub(lambda m: "\\u" + m.group(1)[1:].upper() if len(m.group(1)) > 1 else m.group(), text)
    return MARKED_REAL.sub(r"\1", text) if REAL_MARK in text else text


def encode_json(value, pretty: bool = False) -> bytes | None:
    """UTF-8 of dump_json(); None where a string holds bytes that are no UTF-8, which jansson cannot put into JSON."""
    try:
        return dump_json(value, pretty).encode()
    except UnicodeEncodeError:
        return None


def load_json(data: bytes):
    """The value that jansson reads from `data`; ValueError for all that it refuses."""
    value = json.loads(data.decode("utf-8"), parse_constant=refuse_constant, parse_int=bounded_integer,
                       parse_float=Real)
    if UNPRINTABLE_ESCAPE.search(data):
        check_strings(value)
    return value


UNPRINTABLE_ESCAPE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")


def refuse_constant(name: str):
    raise ValueError(name + " is not JSON")


def bounded_integer(digits: str) -> int:
    if len(digits) > 20 or not -2**63 <= int(digits) < 2**63:
        raise ValueError("integer outside 64 bits")
    return int(digits)


def check_strings(value) -> None:
    """Refuse \\u0000 and lone surrogates, which jansson does not take, anywhere in `value`."""
    pending = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending.extend(item)
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)
        elif isinstance(item, str) and ("\0" in item or LONE_SURROGATE.search(item)):
            raise ValueError("a string that C cannot hold")


def ari_timestamp(now: float) -> str:
    """Epoch seconds as Asterisk shows them: 2024-01-31T12:34:56.789+0000, local time with its offset."""
    milliseconds = int(now * 1000)
    return second_text(milliseconds // 1000) % (milliseconds % 1000)


@functools.lru_cache(maxsize=16)
def second_text(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.%%03d%z", time.localtime(second))


@functools.lru_cache(maxsize=4)
def http_date(second: int) -> str:
    """RFC 9110 5.6.7: the one date form that may be sent."""
    return email.utils.formatdate(second, usegmt=True)


# === 4. HTTP rules ===
# Requests out of bytes and responses into bytes; credentials, CORS, bodies into parameters. Nothing here reads a socket
# or knows an operation. Rules: main/http.c and res/res_ari.c of Asterisk 16.30.1; RFC 9110 and 9112 where it is lax
# about where a body ends.

BLANKS = bytes(range(1, 33))            # what Asterisk trims (ast_skip_blanks): every byte up to the blank, NUL apart
METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS")
REQUEST_LINE = re.compile(rb"[\x01-\x20]*([^\x00-\x20]+)[\x01-\x20]+([^\x00-\x20]+)")
BLANK_LINE = re.compile(rb"\n[\x01-\x09\x0b-\x20]*\n")
DIGITS = re.compile(r"[0-9]{1,10}", re.ASCII)
CODINGS = ("identity", "chunked")
FRAMING_FIELDS = (b"content-length", b"transfer-encoding")


class Head:
    """A request line and header fields, read once: everything else about a request is derived from these.

    Text is UTF-8 with surrogateescape, so that bytes which are no UTF-8 survive until somebody asks for them.
    """
    __slots__ = ("method", "target", "path", "query", "fields", "by_name", "content_length", "is_chunked", "closes")

    def __init__(self, method: str, target: str, fields: list[tuple[str, str]]) -> None:
        self.method, self.target, self.fields = method, target, fields
        self.path, _, self.query = target.partition("?")
        self.by_name: dict[str, str] = {}
        for name, value in fields:
            self.by_name.setdefault(name.lower(), value)
        self.content_length, self.is_chunked = 0, False
        self.closes = self.by_name.get("connection", "").lower() == "close"

    def exact(self, name: str) -> str:
        """The last field spelt exactly so: how Asterisk looks for the CORS headers; "" when there is none."""
        return next((value for spelling, value in reversed(self.fields) if spelling == name), "")

    def last(self, name: str) -> str:
        """The last field of that name in any case: how the WebSocket handshake looks; "" when there is none."""
        return next((value for spelling, value in reversed(self.fields) if spelling.lower() == name), "")


def head_end(buffer: bytes, checked: int) -> int:
    """How many bytes of `buffer` are a head that can be judged; 0 while it can still grow.

    `checked` bytes were there at the last look. A head that already breaks a rule ends where it breaks it.
    """
    first = buffer.find(b"\n")
    if first < 0:
        return MAX_LINE_BYTES + 1 if len(buffer) >= MAX_LINE_BYTES else 0
    if first >= MAX_LINE_BYTES or not REQUEST_LINE.match(buffer, 0, first):
        return first + 1
    blank = BLANK_LINE.search(buffer, max(first, buffer.rfind(b"\n", 0, checked)))
    if blank:
        return blank.end()
    if len(buffer) - buffer.rfind(b"\n") > MAX_LINE_BYTES or len(buffer) > MAX_HEAD_BYTES:
        return len(buffer)
    return len(buffer) if buffer.count(b"\n") > MAX_FIELDS and count_fields(buffer) > MAX_FIELDS else 0


def count_fields(head: bytes) -> int:
    return sum(1 for line in head.split(b"\n")[1:] if header_field(line))


def header_field(line: bytes) -> tuple[str, str] | None:
    """(name, value) of a line that is a field; Asterisk skips all others and knows no folding."""
    name, _, value = line.partition(b":")
    name, value = name.rstrip(BLANKS), value.strip(BLANKS)
    return (decode(name), decode(value)) if name and value else None


@functools.lru_cache(maxsize=64)
def parse_head(head: bytes) -> Head:
    """The Head in bytes that head_end() has measured; HttpError for the first rule that they break.

    Pure, and clients on a kept connection send the same bytes again and again: hence the cache.
    """
    if b"\0" in head:
        raise HttpError(400, "Invalid Request")
    lines = head.split(b"\n")
    if len(lines[0]) >= MAX_LINE_BYTES:
        raise HttpError(400, "Request line too long")
    match = REQUEST_LINE.match(lines[0])
    if not match:
        raise HttpError(400, "Invalid Request")
    fields = []
    for line in lines[1:]:
        if len(line) >= MAX_LINE_BYTES:
            raise HttpError(400, "Header line too long")
        field = header_field(line)
        if field:
            fields.append(field)
            if len(fields) > MAX_FIELDS:
                raise HttpError(413, "Too many headers")
    parsed = Head(decode(match.group(1)).upper(), decode(match.group(2)), fields)
    parsed.content_length, parsed.is_chunked = body_framing(lines[1:], parsed)
    return parsed


def decode(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def encode(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def body_framing(lines: list[bytes], head: Head) -> tuple[int, bool]:
    """(Content-Length, whether the body is chunked); HttpError where two readers could see two different bodies.

    RFC 9112 6.3 and 5.1, 5.2: departure 2, Asterisk itself takes all of it.
    """
    coding = head.by_name.get("transfer-encoding", "identity").lower()
    if coding not in CODINGS:
        raise HttpError(501, "Unsupported Transfer-Encoding.", "Unimplemented")
    found = []
    for line, following in zip(lines, lines[1:] + [b""]):
        name, colon, value = line.partition(b":")
        bare = name.strip(BLANKS).lower()
        if colon and bare in FRAMING_FIELDS:
            folded = following[:1] in (b" ", b"\t") and following.strip(BLANKS)
            if name.lower() != bare or not value.strip(BLANKS) or folded:
                raise HttpError(400, "Invalid Content-Length in request!")
            found.append((bare, decode(value.strip(BLANKS))))
    codings = [value for name, value in found if name == b"transfer-encoding"]
    lengths = [value for name, value in found if name == b"content-length"]
    if len(codings) > 1:
        raise HttpError(501, "Unsupported Transfer-Encoding.", "Unimplemented")
    if not lengths:
        return 0, coding == "chunked"
    if codings or len(lengths) > 1 or not lengths[0].isascii() or not lengths[0].isdigit() \
            or len(lengths[0].lstrip("0")) > 10 or int(lengths[0]) > MAX_CONTENT_LENGTH:
        raise HttpError(400, "Invalid Content-Length in request!")
    return int(lengths[0]), False


CHUNK_SIZE = re.compile(rb"(0*([0-9a-fA-F]{1,8}))(;[^\n]*)?\r\n")


class ChunkReader:
    """Takes a chunked body apart (RFC 9112 7.1): feed() it bytes until `is_done`; ValueError for a fault.

    `size` is what the body has come to so far, `data` the body when it is to be kept, `rest` what follows it.
    """

    def __init__(self, keeps: bool) -> None:
        self.keeps, self.data, self.size, self.is_done = keeps, bytearray(), 0, False
        self.rest, self.left, self.state = b"", 0, "size"

    def feed(self, data: bytes) -> None:
        self.rest += data
        while not self.is_done and self.step():
            pass

    def step(self) -> bool:
        """Take one size line, piece of data, line end or trailer line; False when more bytes are needed."""
        if self.state == "data":
            piece, self.rest = self.rest[:self.left], self.rest[self.left:]
            self.left -= len(piece)
            if self.keeps:
                self.data += piece
            if not self.left:
                self.state = "line end"
            return bool(piece)
        if self.state == "line end":
            if not b"\r\n".startswith(self.rest[:2]):
                raise ValueError("no line end after a chunk")
            if len(self.rest) >= 2:
                self.rest, self.state = self.rest[2:], "size"
                return True
            return False
        end = self.rest.find(b"\n") + 1
        if not end:
            if len(self.rest) >= MAX_LINE_BYTES:
                raise ValueError("line too long in a chunked body")
            return False
        line, self.rest = self.rest[:end], self.rest[end:]
        if self.state == "trailer":
            self.is_done = not line.strip(BLANKS)
            return True
        match = CHUNK_SIZE.fullmatch(line)
        self.left = int(match.group(2), 16) if match else -1
        if not 0 <= self.left <= MAX_CONTENT_LENGTH:
            raise ValueError("bad chunk size")
        self.size += self.left
        self.state = "data" if self.left else "trailer"
        return True


class Request:
    """A head and its body, as section 10 answers it. `body_problem` is what went wrong with reading the body, if anything:
    "large" or "broken"."""
    __slots__ = ("head", "body", "body_problem", "prefix", "pairs", "json", "user")

    def __init__(self, head: Head, body: bytes = b"", body_problem: str = "", prefix: str = "") -> None:
        self.head, self.body, self.body_problem, self.prefix = head, body, body_problem, prefix
        self.pairs: list[tuple[str, str]] = []          # form, then query
        self.json = None                                # the JSON body, when it is an object
        self.user: User | None = None

    def ari_path(self) -> str | None:
        """The raw path behind /ari/, "" for /ari itself; None outside it (main/http.c, handle_uri)."""
        return ari_path(self.head.path, self.prefix)


def ari_path(path: str, prefix: str) -> str | None:
    root = prefix + "/ari"
    if path[:len(root)].lower() != root.lower() or path[len(root):len(root) + 1] not in ("", "/"):
        return None
    return path[len(root) + 1:]


def body_kind(head: Head) -> str:
    """"form" or "json" when the body is one that ARI reads, else ""."""
    content_type = head.by_name.get("content-type", "").partition(";")[0].lower()
    return {"application/x-www-form-urlencoded": "form", "application/json": "json"}.get(content_type, "")


# What sscanf("%2x") makes of the two characters behind a %: it takes a sign, and leading blanks (ast_uri_decode).
ENCODED = re.compile(rb"\+|%(?=[ \t-\r]*([+-][0-9a-fA-F]|[0-9a-fA-F]{1,2}))[^\x00]{2}", re.DOTALL)


def percent_decode(text: str) -> str:
    """`text` with + and %XX decoded once, as far as the first NUL."""
    if "%" not in text and "+" not in text:
        return text
    data = ENCODED.sub(lambda m: bytes([int(m.group(1), 16) & 0xFF]) if m.group(1) else b" ", encode(text))
    return decode(data.partition(b"\0")[0])


def parse_pairs(text: str) -> list[tuple[str, str]]:
    """The (name, value) pairs of a query or form: split first, decoded after; a missing = is an empty value."""
    pairs = []
    for piece in text.split("&") if text else ():
        name, _, value = piece.partition("=")
        pairs.append((percent_decode(name), percent_decode(value)))
    return pairs


def read_parameters(request: Request) -> None:
    """Fill `pairs` and `json` from query and body; AriError when the body cannot be taken (413, 400).

    Asterisk: the form is tried first, JSON only when the form gave nothing, for every method.
    """
    if request.body_problem == "large":
        raise AriError(413, "Request body too large", close=True)
    if request.body_problem:
        raise AriError(400, "Error parsing request body", close=True)
    kind = body_kind(request.head) if request.body else ""
    form = parse_pairs(decode(request.body).partition("\0")[0]) if kind == "form" else []
    request.pairs = form + parse_pairs(request.head.query)
    if kind == "json":
        try:
            request.json = load_json(request.body)
        except (ValueError, RecursionError):
            raise AriError(400, "Error parsing request body") from None
        if not isinstance(request.json, (dict, list)):
            raise AriError(400, "Error parsing request body")


def basic_credentials(value: str) -> tuple[str, str] | None:
    """(user, password) of an Authorization value; None where the decoded text has no colon.

    Asterisk decodes laxly (ast_base64decode): it stops at the first =, takes a foreign character for 63, keeps 255 bytes.
    """
    text = encode(value[len("Basic "):]).partition(b"=")[0].translate(BASE64_LAX)
    data = base64.b64decode(text + b"A" * (-len(text) % 4))
    data = data[:min(len(text) * 3 // 4, MAX_CREDENTIAL_BYTES)].partition(b"\0")[0]
    user, colon, password = data.partition(b":")
    return (decode(user), decode(password)) if colon else None


BASE64_ALPHABET = (string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/").encode()
BASE64_LAX = bytes(byte if byte in BASE64_ALPHABET else ord("/") for byte in range(256))


def credentials(request: Request) -> tuple[str, str] | None:
    """What the client gives as user and password: the first Basic header, else api_key of form or query; None for none."""
    for name, value in request.head.fields:
        if value.startswith("Basic ") and name.lower() == "authorization":
            given = basic_credentials(value)
            if given:
                return given
            break
    for name, value in request.pairs:
        if name.lower() == "api_key":
            user, colon, password = value.partition(":")
            return (user, password) if colon else None
    return None


def authenticate(request: Request, config: Config) -> User | None:
    """The user whose password the request carries; None when there is no such user or the password is wrong."""
    given = credentials(request)
    if not given:
        return None
    user = config.users.get(given[0].lower())
    return user if password_matches(user, given[1], config.decoy) else None


def cors_headers(head: Head, config: Config) -> list[tuple[str, str]]:
    """What a cross-origin answer carries: nothing unless the Origin is allowed, compared byte for byte."""
    origin = head.exact("Origin") if config.allowed_origins else ""
    if not origin or not ("*" in config.allowed_origins or origin in config.allowed_origins):
        return []
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


CONTROL = re.compile("[\x00-\x1f\x7f]")
NO_BODY = object()


class Response:
    """An answer before it is bytes: status and phrase, headers of the resource, and a JSON value or none.

    `content` is a body that is no JSON, as (header line name, its value, bytes).
    """
    __slots__ = ("status", "value", "phrase", "headers", "content", "closes", "is_shared")

    def __init__(self, status: int, value=NO_BODY, phrase: str | None = None, headers=(), content=None,
                 closes: bool = False, is_shared: bool = True) -> None:
        self.status, self.value, self.phrase = status, value, phrase or PHRASES[status]
        self.headers, self.content, self.closes = headers, content, closes
        self.is_shared = is_shared                      # whether it carries CORS headers

    def to_bytes(self, date: str, server: str, pretty: bool = False, cors=()) -> bytes:
        """The whole answer, in Asterisk's order of headers (ast_http_send, ast_ari_callback)."""
        lines = ["HTTP/1.1 %d %s\r\nServer: %s\r\nDate: %s\r\n" % (self.status, self.phrase, server, date)]
        if self.closes:
            lines.append("Connection: close\r\n")
        lines.append("Cache-Control: no-cache, no-store\r\n")
        for name, value in (*(cors if self.is_shared else ()), *self.headers):
            lines.append("%s: %s\r\n" % (name, value))
        body = b""
        if self.content:
            name, value, body = self.content
            lines.append("%s: %s\r\n" % (name, value))
        elif self.value is not NO_BODY:
            encoded = encode_json(self.value, pretty)
            if encoded is not None:                     # Asterisk: what cannot be JSON is an answer without a body
                body = encoded
                lines.append("Content-type: application/json\r\n")
        lines.append("Content-Length: %d\r\n\r\n" % len(body))
        return encode("".join(lines)) + body


HTML_PAGE = """<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">
<html><head>
<title>{status} {phrase}</title>
</head><body>
<h1>{phrase}</h1>
<p>{text}</p>
<hr />
<address>{server}</address>
</body></html>
""".replace("\n", "\r\n")


def html_error(error: HttpError, server: str) -> Response:
    """The page of the HTTP server itself (ast_http_error)."""
    page = HTML_PAGE.format(status=error.status, phrase=error.phrase, text=error.text, server=server)
    return Response(error.status, phrase=error.phrase, closes=error.close, is_shared=False,
                    content=("Content-type", "text/html", page.encode()))


def json_error(error: AriError) -> Response:
    """The JSON answer of a refusal."""
    has_body = error.message is not None
    return Response(error.status, {error.member: error.message} if has_body else NO_BODY, error.phrase, error.headers,
                    closes=error.close, is_shared=has_body)


# === 5. WebSocket (RFC 6455) ===
# The handshake's answer, frames, and the state of one connection: bytes in, messages out, bytes to send. No socket, no
# thread. In the handshake Asterisk is laxer than the RFC and so is this (res_http_websocket.c); frames are strict.

WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"     # RFC 6455 1.3


class Opcode(enum.IntEnum):
    """RFC 6455 5.2. The high bit of the four marks control frames."""
    CONTINUATION = 0x0
    TEXT = 0x1
    BINARY = 0x2
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


class Close(enum.IntEnum):
    """RFC 6455 7.4.1: the close codes that the server itself gives."""
    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    INVALID_DATA = 1007
    TOO_BIG = 1009


SENDABLE_CLOSE_CODES = (range(1000, 1004), range(1007, 1015), range(3000, 5000))   # RFC 6455 7.4, and the IANA registry
MAX_CONTROL_BYTES = 125                 # RFC 6455 5.5
LENGTH_16, LENGTH_64 = 126, 127         # RFC 6455 5.2: the length field's escapes
LEADING_NUMBER = re.compile(r"[ \t-\r]*\+?0*([0-9]+)", re.ASCII)
VERSIONS = ("7", "8", "13")


def handshake_headers(head: Head) -> list[tuple[str, str]]:
    """The headers of the 101 answer in order; HttpError 426 without an upgrade, AriError 400 for a bad one."""
    upgrade = head.last("upgrade")
    if upgrade.lower() != "websocket":
        raise HttpError(426, "", close=False)
    offered, key = head.last("sec-websocket-protocol"), head.last("sec-websocket-key")
    version = LEADING_NUMBER.match(head.last("sec-websocket-version"))
    chosen = next((item for item in offered.split(",") if item.strip().lower() == "ari"), None)
    old_draft = offered and head.last("sec-websocket-key1") and head.last("sec-websocket-key2")
    if old_draft or (offered and chosen is None) or not version or version.group(1) not in VERSIONS or not key:
        raise AriError(400, None, headers=(("Sec-WebSocket-Version", "7, 8, 13"),))
    # RFC 6455 4.2.2 5.4: the proof that the server read the key.
    accept = base64.b64encode(hashlib.sha1(encode(key) + WEBSOCKET_GUID.encode()).digest()).decode()
    headers = [("Upgrade", upgrade), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]
    return headers + ([("Sec-WebSocket-Protocol", chosen.rstrip())] if chosen is not None else [])


def encode_frame(opcode: int, payload: bytes) -> bytes:
    """One unmasked, final frame (RFC 6455 5.2; 5.1: a server never masks)."""
    size = len(payload)
    if size < LENGTH_16:
        return struct.pack(">BB", 0x80 | opcode, size) + payload
    if size < 1 << 16:
        return struct.pack(">BBH", 0x80 | opcode, LENGTH_16, size) + payload
    return struct.pack(">BBQ", 0x80 | opcode, LENGTH_64, size) + payload


def close_frame(code: int) -> bytes:
    """A close frame that holds the code and no reason, as all of the server's."""
    return encode_frame(Opcode.CLOSE, struct.pack(">H", code))


def apply_mask(mask: bytes, payload: bytes) -> bytes:
    """`payload` with `mask` laid over it: masking and unmasking are the same (RFC 6455 5.3)."""
    size = len(payload)
    repeated = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


class FrameHead(NamedTuple):
    """What stands before a payload; `size` counts the bytes of the head itself.

     0                   1                   2                   3
     0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    +-+-+-+-+-------+-+-------------+-------------------------------+
    |F|R|R|R| opcode|M| length      | 16 or 64 more bits of length, |
    |I|S|S|S|       |A| (7 bits)    | when the 7 say 126 or 127;    |
    |N|V|V|V|       |S|             | then 4 bytes of mask          |
    """
    is_final: bool
    opcode: int
    length: int
    mask: bytes
    size: int

    def __str__(self) -> str:
        name = Opcode(self.opcode).name.lower()
        return "%s, %d bytes%s" % (name, self.length, "" if self.is_final else ", more follows")


def parse_frame_head(buffer: bytes) -> FrameHead | None:
    """The frame head at the start of `buffer`, None while it is incomplete; WebSocketError for what no client may send."""
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
    head = FrameHead(bool(first & 0x80), first & 0x0F, length, bytes(buffer[size - 4:size]), size)
    if first & 0x70:
        raise WebSocketError(Close.PROTOCOL_ERROR, "reserved bits without an extension (5.2)")
    if head.opcode not in Opcode.__members__.values():
        raise WebSocketError(Close.PROTOCOL_ERROR, "reserved opcode (5.2)")
    if not second & 0x80:
        raise WebSocketError(Close.PROTOCOL_ERROR, "unmasked frame from a client (5.1)")
    if extra and length < (LENGTH_16 if extra == 2 else 1 << 16) or length >> 63:
        raise WebSocketError(Close.PROTOCOL_ERROR, "length not in its shortest form, or over 63 bits (5.2)")
    if head.opcode & 0x8 and (not head.is_final or length > MAX_CONTROL_BYTES):
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


class Connection:
    """The server's side of one connection after the handshake.

    receive() takes bytes as they come, in pieces of any size, and returns the whole messages in them; what must go back
    (pongs, the close frame) is collected for to_send(). After a close, either side's, `close_code` is set, and
    whatever else comes is ignored.
    """

    def __init__(self) -> None:
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
            self.output += close_frame(code)

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
            self.head = parse_frame_head(self.buffer)
            if self.head is None:
                return False
            self.check_sequence(self.head)
            del self.buffer[:self.head.size]
        head, offset = self.head, self.taken % 4
        piece = bytes(self.buffer[:head.length - self.taken])
        del self.buffer[:len(piece)]
        self.taken += len(piece)
        piece = apply_mask(head.mask[offset:] + head.mask[:offset], piece)
        whole = self.taken == head.length
        if head.opcode & 0x8:
            self.control += piece
        else:
            self.add_to_message(piece, whole and head.is_final)
        if whole:
            self.head, self.taken = None, 0
            self.end_frame(head, messages)
        return whole

    def check_sequence(self, head: FrameHead) -> None:
        """Refuse a data frame out of its place (RFC 6455 5.4), and what is larger than Asterisk takes (10.4)."""
        if not head.opcode & 0x8:
            if (head.opcode == Opcode.CONTINUATION) != (self.opcode is not None):
                raise WebSocketError(Close.PROTOCOL_ERROR, "a continuation of nothing, or a message inside another (5.4)")
        if head.length + head.size > MAX_FRAME_BYTES:
            raise WebSocketError(Close.TOO_BIG, "frame over %d bytes" % MAX_FRAME_BYTES)
        if not head.opcode & 0x8:
            if len(self.message) + head.length > MAX_FRAME_BYTES:
                raise WebSocketError(Close.TOO_BIG, "message over %d bytes" % MAX_FRAME_BYTES)
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
        if head.opcode & 0x8:
            payload = bytes(self.control)
            self.control.clear()
            if head.opcode == Opcode.PING:
                self.output += encode_frame(Opcode.PONG, payload)       # RFC 6455 5.5.3
            elif head.opcode == Opcode.CLOSE:
                self.close(close_code(payload))
        elif head.is_final:
            messages.append((self.opcode, bytes(self.message)))
            self.message.clear()
            self.opcode = None
            self.text_check.reset()
