#!/usr/bin/env python3
"""Tests of ari_ref.py, and a conformance suite for any server that speaks Asterisk 16's REST Interface (ARI).

    pytest test_ari_ref.py                                                     the module, started in this process
    ARI_URL=http://host:8088/ari ARI_AUTH=user:password pytest test_ari_ref.py     any other server, over the wire

Three parts:

    (a) rules         parts of the module that need no socket; skipped with ARI_URL
    (b) conformance   what a client sees on the wire, seen on Asterisk 16.30.1; knows nothing of the module
    (c) promises      what the module promises about itself; skipped with ARI_URL

`pytest --collect-only -q test_ari_ref.py` reads as a specification: a class is a section, a name is a sentence, the
words in brackets are a row of its table.  The docstring of a case is the rule and its source, a C file and function of
Asterisk 16.30.1 or an RFC.  The run ends with the counts per chapter and the name of the server.  Needs Python 3.8 or
later and pytest, nothing else.
"""
from __future__ import annotations

import ast
import base64
import bisect
import collections
import contextlib
import hashlib
import io
import itertools
import json as jsonlib
import os
import re
import shlex
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import textwrap
import threading
import time
import urllib.error
import urllib.request
import uuid
import wave
from urllib.parse import quote, quote_plus, urlsplit

import pytest

IN_PROCESS = "ARI_URL" not in os.environ
in_process = pytest.mark.skipif(not IN_PROCESS, reason="about the module itself, not about a server on the wire")


def rows(names, *table):
    """Parametrise a case: a row is (sentence, value, ...), and the sentence is its id."""
    return pytest.mark.parametrize(names, [pytest.param(*row[1:], id=row[0]) for row in table])


# === (a) rules ===
#
# The parts of the module that need no socket, one table each: a sentence, what goes in, what comes out.

if IN_PROCESS:
    import ari_ref

SHA512 = "$6$saltsalt$As4wrv0kZlfch1du9WeH7qhskyLriQWySXrZzynnvi46nFnNxjdpl6ksRegrrKexvhIa/Iny8S8uF3fVWTMuC1"


def read_config(tmp_path, text, name="ari.conf"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ari_ref.read_config(str(path))


USER = "[u]\ntype = user\npassword = p\n"


@in_process
class TestConfiguration:
    """ari.conf: main/config.c, main/config_options.c and res/ari/config.c of Asterisk."""

    @rows("text, attribute, value",
        ("enabled is yes by default", "", "is_enabled", True),
        ("enabled takes a true word in any case", "enabled = oN", "is_enabled", True),
        ("enabled is no for any other word", "enabled = perhaps", "is_enabled", False),
        ("enabled is no when it is empty", "enabled =", "is_enabled", False),
        ("pretty is no by default", "", "is_pretty", False),
        ("pretty takes a true word", "pretty = t", "is_pretty", True),
        ("pretty is no for any other word", "pretty = 2", "is_pretty", False),
        ("auth_realm has Asterisk's default", "", "auth_realm", "Asterisk REST Interface"),
        ("auth_realm may be empty", "auth_realm =", "auth_realm", ""),
        ("auth_realm is cut to 79 bytes", "auth_realm = " + "r" * 80, "auth_realm", "r" * 79),
        ("auth_realm keeps its quotes", 'auth_realm = "x y"', "auth_realm", '"x y"'),
        ("allowed_origins is empty by default", "", "allowed_origins", frozenset()),
        ("allowed_origins is split at commas and not trimmed", "allowed_origins = http://a , http://b,*", "allowed_origins",
         frozenset(["http://a ", " http://b", "*"])),
        ("channelvars says nothing by default", "", "channelvars", None),
        ("channelvars may be empty", "channelvars =", "channelvars", []),
        ("channelvars are split outside quotes and parentheses, once each", 'channelvars = A,"B,C",F(x,y),A,d\\,e',
         "channelvars", ["A", "B,C", "F(x,y)", "d,e"]),
        ("channelvars keep blanks around names", "channelvars = A, B", "channelvars", ["A", " B"]),
        ("websocket_write_timeout is 100 ms by default", "", "write_timeout_ms", 100),
        ("websocket_write_timeout takes a number", "websocket_write_timeout = 2147483647", "write_timeout_ms", 2147483647),
        ("websocket_write_timeout takes hexadecimal", "websocket_write_timeout = 0x10", "write_timeout_ms", 16),
        ("websocket_write_timeout takes octal", "websocket_write_timeout = 010", "write_timeout_ms", 8),
        ("names of options and of general are compared in any case", "PRETTY = yes", "is_pretty", True),
        ("the last of equal options counts", "pretty = no\npretty = yes", "is_pretty", True),
        ("an arrow is an equals sign", "pretty => yes", "is_pretty", True),
        ("a comment runs to the end of the line", "auth_realm = a ; b", "auth_realm", "a"),
        ("an escaped semicolon is kept", "auth_realm = a\\;b", "auth_realm", "a;b"),
        ("a block comment may stand within a line", "auth_realm = a;-- x --;b", "auth_realm", "ab"),
        ("block comments nest and span lines", "auth_realm = a\n;-- x\n;-- y\n--;\nauth_realm = b\n--;", "auth_realm", "a"),
        ("three dashes make an ordinary comment", ";--- x\nauth_realm = a", "auth_realm", "a"),
        ("an unterminated block comment loses the rest", "auth_realm = a\n;-- x\nauth_realm = b", "auth_realm", "a"),
        ("+= adds to the last such option with its blanks", "auth_realm = one\nauth_realm += two", "auth_realm", "one two"),
        ("+= without an earlier option is plain", "auth_realm += two", "auth_realm", "two"),
        ("a line without an equals sign is skipped", "nonsense\nauth_realm = a", "auth_realm", "a"),
        ("an option without a name is skipped", " = x\nauth_realm = a", "auth_realm", "a"),
        ("an unknown directive is skipped", "#nonsense x\nauth_realm = a", "auth_realm", "a"),
        ("#exec is skipped", "#exec /bin/true\nauth_realm = a", "auth_realm", "a"),
        ("#tryinclude of a missing file is nothing", "#tryinclude nowhere.conf\nauth_realm = a", "auth_realm", "a"),
        ("a line over 8191 bytes is skipped", "pretty = yes\nauth_realm = " + "x" * 8192, "is_pretty", True),
    )
    def test_general(self, tmp_path, text, attribute, value):
        """An option of [general] takes effect as Asterisk reads it."""
        assert getattr(read_config(tmp_path, "[GENERAL] ignored\n%s\n%s" % (text, "" if ";-- x\nauth" in text else USER)),
                       attribute) == value

    @rows("text, line",
        ("a zero write timeout", "[general]\nwebsocket_write_timeout = 0\n", 2),
        ("a write timeout with a unit", "[general]\nwebsocket_write_timeout = 100ms\n", 2),
        ("an empty write timeout", "[general]\nwebsocket_write_timeout =\n", 2),
        ("a write timeout over 31 bits", "[general]\nwebsocket_write_timeout = 2147483648\n", 2),
        ("a negative write timeout", "[general]\nwebsocket_write_timeout = -1\n", 2),
        ("an unknown option of general", "[general]\nnope = 1\n", 2),
        ("a user option in general", "[general]\npassword = x\n", 2),
        ("an unknown option of a user", USER + "nope = 1\n", 4),
        ("a section without a type", "[u]\npassword = p\n", 1),
        ("a section of another type", "[u]\ntype = peer\n", 2),
        ("a first type that is no user, whatever follows", "[u]\ntype = peer\ntype = user\n", 2),
        ("an unknown password format", USER + "password_format = md5\n", 4),
        ("an option before the first section", "pretty = yes\n", 1),
        ("an unclosed bracket", "[general\n", 1),
        ("an unclosed parenthesis", "[a](b\n", 1),
        ("an unknown template", "[a](b)\n", 1),
        ("a continued section that is not there", "[a](+)\n", 1),
        ("a missing include", "[general]\n#include nowhere.conf\n", 2),
    )
    def test_refuses(self, tmp_path, text, line):
        """The whole file is refused, and the fault is told with file and line."""
        with pytest.raises(ari_ref.ConfigError) as caught:
            read_config(tmp_path, text)
        assert caught.value.where == "%s:%d" % (tmp_path / "ari.conf", line)

    def test_refuses_includes_without_end(self, tmp_path):
        """A file that includes itself is refused (MAX_INCLUDE_LEVEL)."""
        with pytest.raises(ari_ref.ConfigError):
            read_config(tmp_path, "[general]\n#include ari.conf\n")

    @rows("text, expected",
        ("a plain password", USER, ("p", False, False)),
        ("a crypted password, the format after it", USER + "password_format = Crypt\n", ("p", True, False)),
        ("a read-only user", USER + "read_only = yes\n", ("p", False, True)),
        ("a user by default may write", USER, ("p", False, False)),
        ("a password keeps colons and inner blanks", USER + "password = a: b\n", ("a: b", False, False)),
        ("a password is cut to 255 bytes", USER + "password = " + "x" * 300, ("x" * 255, False, False)),
        ("sections of one user are merged", USER + "[U]\ntype = user\nread_only = 1\n", ("p", False, True)),
        ("a template is inherited, own options win", "[t](!)\ntype = user\npassword = t\nread_only = yes\n[u](t)\npassword = o\n",
         ("o", False, True)),
        ("templates are copied in order", "[a](!)\ntype=user\npassword=a\n[b](!)\npassword=b\n[u](a,b)\n", ("b", False, False)),
        ("a template may inherit", "[a](!)\ntype=user\n[b](!,a)\npassword=b\n[u](b)\n", ("b", False, False)),
        ("a section is continued", USER + "[v]\ntype=user\n[U](+)\npassword=q\n", ("q", False, False)),
        ("a byte order mark is skipped", b"\xef\xbb\xbf" + USER.encode(), ("p", False, False)),
        ("lines may end with CR LF", USER.replace("\n", "\r\n"), ("p", False, False)),
    )
    def test_user(self, tmp_path, text, expected):
        """A user section: password, format, read_only."""
        password, is_crypted, is_read_only = expected
        user = read_config(tmp_path, text).users["u"]
        assert (user.password, user.is_crypted, user.is_read_only) == (password, is_crypted, is_read_only)

    def test_include_goes_on_in_the_section_it_stands_in(self, tmp_path):
        """Included options belong to the section that includes them; sections opened inside do not outlive the file."""
        (tmp_path / "part.inc").write_text("password = inside\n[v]\ntype = user\n")
        config = read_config(tmp_path, '[u]\ntype = user\n#include "part.inc"\nread_only = yes\n')
        assert (config.users["u"].password, config.users["u"].is_read_only, config.users["v"].is_read_only) == ("inside", True, False)

    def test_include_takes_brackets_and_patterns(self, tmp_path):
        """#include <part-*.inc> reads all files of that pattern, in order."""
        (tmp_path / "part-1.inc").write_text("password = one\n")
        (tmp_path / "part-2.inc").write_text("password = two\n")
        assert read_config(tmp_path, "[u]\ntype = user\n#include <part-*.inc>\n").users["u"].password == "two"

    def test_channelvars_before_a_fault_are_told_with_it(self, tmp_path):
        """Asterisk applies a channelvars line although it refuses the file because of a later one."""
        with pytest.raises(ari_ref.ConfigError) as caught:
            read_config(tmp_path, "[general]\nchannelvars = A,B\nnope = 1\n")
        assert caught.value.channelvars == ["A", "B"]

    @rows("text, words",
        ("a user without a password", "[u]\ntype = user\n", "has no password"),
        ("no users at all", "", "no users"),
        ("a line that is no option", "[general]\nx\n" + USER, "ignored"),
        ("a line too long", USER + "x" * 9000, "over 8191 bytes"),
        ("a comment without end", USER + ";-- x\n", "block comment"),
    )
    def test_warns_of(self, tmp_path, text, words):
        """What is merely odd is a warning."""
        assert any(words in warning for warning in read_config(tmp_path, text).warnings)


@in_process
class TestHttpConf:
    """http.conf [general] (main/http.c)."""

    def read(self, tmp_path, text):
        (tmp_path / "http.conf").write_text("[general]\n" + text)
        return ari_ref.read_http_config(str(tmp_path / "http.conf"))

    @rows("text, attribute, value",
        ("is disabled without enabled", "", "is_enabled", False), ("is enabled", "enabled = yes", "is_enabled", True),
        ("binds to an address", "bindaddr = ::1", "address", "::1"), ("binds to a port", "bindport = 99", "port", 99),
        ("has a prefix", "prefix = /x/", "prefix", "/x"), ("has no prefix", "prefix = /", "prefix", ""),
        ("has a server name", "servername = S", "server_name", "S"), ("limits sessions", "sessionlimit = 3", "session_limit", 3),
        ("limits silence in a request", "session_inactivity = 1500", "inactivity", 1.5),
        ("limits silence between requests", "session_keep_alive = 500", "keep_alive", 0.5),
        ("allows 100 sessions by default", "", "session_limit", 100), ("waits 15 s by default", "", "keep_alive", 15.0),
        ("waits 30 s inside a request by default", "", "inactivity", 30.0),
        ("takes a certificate with its key", "tlsenable = yes\ntlsbindaddr = 1.2.3.4\ntlscertfile = c", "tls_key", "c"),
        ("takes no certificate while TLS is off", "tlscertfile = c", "tls_certificate", None),
    )
    def test_option(self, tmp_path, text, attribute, value):
        """An option and what it comes to; times in seconds."""
        assert getattr(self.read(tmp_path, text), attribute) == value

    def test_refuses_a_limit_that_is_no_number(self, tmp_path):
        """Numbers are told with file and line when they are none."""
        with pytest.raises(ari_ref.ConfigError, match=r"http.conf:2: sessionlimit"):
            self.read(tmp_path, "sessionlimit = many\n")

    def test_warns_of_what_it_has_no_use_for(self, tmp_path):
        """Unknown options and other sections are skipped."""
        assert len(self.read(tmp_path, "enablestatic = yes\n[post_mappings]\n").warnings) == 2


@in_process
class TestPasswords:
    """crypt(3) through the module crypt, or libcrypt where Python has none."""

    @rows("word, stored, matches",
        ("SHA-512", "s3cret", SHA512, True), ("SHA-512, wrong", "S3cret", SHA512, False),
        ("MD5", "s3cret", "$1$abcdefgh$7.vq19w/w3Vm.hk1FOA7Q/", True),
        ("SHA-256 of a long password", "s3cret", "$5$xyz$Qd4LTTao5ntAOJqYPTMD6IN3DD9AoFQJvrjn71XNUgC", True),
        ("no hash at all", "plaintext", "plaintext", False), ("a star", "*", "*", False), ("a NUL in the word", "a\0b", SHA512, False),
    )
    def test_crypted(self, word, stored, matches):
        """A crypted password matches when crypt(3) of the word is the stored hash, which never matches itself."""
        user = ari_ref.User("u")
        user.password, user.is_crypted = stored, True
        assert ari_ref.password_matches(user, word, None) is matches
        assert ari_ref.password_matches(user, word, None) is matches        # the second time from the proof that was kept

    @rows("stored, word, matches", ("the right one", "p", "p", True), ("another", "p", "q", False), ("none given", "p", "", False), ("none set", "", "", False))
    def test_plain(self, stored, word, matches):
        """A plain password matches when it is equal and not empty, whether or not crypted users exist."""
        user = ari_ref.User("u")
        user.password = stored
        assert ari_ref.password_matches(user, word, None) is ari_ref.password_matches(user, word, SHA512) is matches

    def test_nobody(self):
        """An unknown user never matches."""
        assert not ari_ref.password_matches(None, "", SHA512) and not ari_ref.password_matches(None, "x", None)

    def test_the_dearest_hash_is_what_an_unknown_user_costs(self, tmp_path):
        """The decoy is the stored hash with most rounds (departure 8)."""
        text = "".join("[%s]\ntype = user\npassword_format = crypt\npassword = %s\n" % pair for pair in (
            ("a", "$1$x$y"), ("b", "$6$rounds=9000$s$x"), ("c", "$5$s$x"), ("d", "odd")))
        assert read_config(tmp_path, text).decoy == "$6$rounds=9000$s$x"


@in_process
class TestJson:
    """jansson's text, and what it refuses to read."""

    @rows("value, text",
        ("no blanks", {"a": [1, True, None]}, b'{"a":[1,true,null]}'),
        ("control characters in upper-case hexadecimal", "\x1f\x0b\n\t\b\f\r", b'"\\u001F\\u000B\\n\\t\\b\\f\\r"'),
        ("a backslash before u stays one", "\\u001f", b'"\\\\u001f"'),
        ("UTF-8, DEL and slashes as they are", "\u00e9\x7f\u2028/", '"\u00e9\x7f\u2028/"'.encode()),
        ("nothing for what is not UTF-8", "\udcff", None),
    )
    def test_compact(self, value, text):
        """Compact JSON, to the byte."""
        assert ari_ref.encode_json(value) == text

    def test_pretty(self):
        """Pretty JSON: two blanks a level, empty ones closed at once."""
        assert ari_ref.dump_json({"a": [1], "b": {}, "c": []}, True) == '{\n  "a": [\n    1\n  ],\n  "b": {},\n  "c": []\n}'

    @pytest.mark.parametrize("given, sent", [
        ("1.5", "1.5"), ("0.1", "0.10000000000000001"), ("1e22", "1e22"), ("1e16", "10000000000000000.0"),
        ("-2.5E-10", "-2.5000000000000002e-10"), ("2.0", "2.0")])
    def test_real_numbers_are_sent_with_17_digits(self, given, sent):
        """A real number comes back as %.17g, its exponent without + and leading zeros."""
        assert ari_ref.dump_json(ari_ref.load_json(b'{"x":[%s]}' % given.encode())) == '{"x":[%s]}' % sent

    @pytest.mark.parametrize("text", [
        b"{", b"{'a':1}", b'{"a":1,}', b'{"a":NaN}', b'{"a":Infinity}', b'{"a":1e400}', b'{"a":9223372036854775808}',
        b'{"a":123456789012345678901}', b'{"a":"\\u0000"}', b'{"\\ud800":1}', b'["\\udc00"]', b'"\x01"', b'"\xff"', b'{"a":01}',
        b'{} x', b'\xef\xbb\xbf{}', b"{}\0"])
    def test_refuses(self, text):
        """What jansson does not read is a ValueError."""
        with pytest.raises(ValueError):
            ari_ref.load_json(text)

    def test_takes_a_surrogate_pair(self):
        """An escaped pair is one character."""
        assert ari_ref.load_json(b'"\\ud83d\\ude00"') == "\U0001F600"

    def test_timestamp(self):
        """Milliseconds and the local offset without a colon."""
        assert re.fullmatch(r"2001-09-0\dT\d\d:\d\d:40\.125[+-]\d{4}", ari_ref.ari_timestamp(1000000000.125))


@in_process
class TestNumbersAndText:
    """Small rules that many parameters share."""

    @rows("word, value",
        ("digits", "12", 12), ("leading blanks and a sign", " \t-3x", -3), ("nothing readable", "abc", 0), ("hexadecimal stops", "0x10", 0),
        ("a fraction is cut", "9.9", 9), ("32 bits wrap", "4294967295", -1), ("two signs", "--1", 0), ("the 32nd bit", "2147483648", -2**31),
        ("64 bits are the limit", "99999999999999999999", -1), ("and below", "-99999999999999999999", 0), ("nothing", "", 0),
    )
    def test_integer(self, word, value):
        """Integers are read as C's atoi does."""
        assert ari_ref.c_integer(word) == value

    @rows("text, decoded",
        ("letters", "a%4a%4Ab", "aJJb"), ("a plus is a blank", "a+b", "a b"), ("one digit is enough", "%1g", "\x01"),
        ("no digits stay", "%zz", "%zz"), ("a short end stays", "%4", "%4"), ("a percent sign before another", "%%41", "%A"),
        ("a sign", "%-1", "\udcff"), ("0x", "%0x", ""), ("NUL ends the text", "a%00b", "a"), ("once only", "%2541", "%41"), ("UTF-8", "%C3%A9", "\u00e9"),
    )
    def test_percent_decoding(self, text, decoded):
        """Percent-decoding is that of sscanf("%2x"), once."""
        assert ari_ref.percent_decode(text) == decoded

    @rows("text, party",
        ("name and number", '"Bob Ray" <555-1234>', ("Bob Ray", "5551234")), ("a number", "123", ("", "123")),
        ("a number with marks", "(555) 12.34-5", ("", "55512345")), ("a last dot stays", "12.", ("", "12.")), ("a name", "Bob", ("Bob", "")),
        ("a quoted number is a name", '"123"', ("123", "")), ("odd numbers stay", "<1 2>", ("", "1 2")), ("letters stay", "Bob <x-y>", ("Bob", "x-y")),
        ("the last bracket counts", "a <b> <3>", ("a <b>", "3")), ("nothing", "", ("", "")),
    )
    def test_caller_id(self, text, party):
        """A caller id is a name and a number (ast_callerid_parse)."""
        assert ari_ref.parse_caller_id(text) == party

    @rows("text, items",
        ("plain", "a,b", ["a", "b"]), ("quotes", 'r"s,t"', ["rs,t"]), ("parentheses", "f(a,b),c", ["f(a,b)", "c"]), ("brackets", "x[1,2]", ["x[1,2]"]),
        ("a backslash", "a\\,b", ["a,b"]), ("empty ones", ",", ["", ""]),
    )
    def test_quoted_list(self, text, items):
        """Names of applications and channelvars are split outside quotes and brackets."""
        assert ari_ref.split_quoted(text) == items


GET = b"GET /ari/x HTTP/1.1\r\n"


@in_process
class TestHead:
    """Request heads as bytes (main/http.c; RFC 9112 where two readers could disagree)."""

    @rows("data, end",
        ("a whole head", GET + b"A: b\r\n\r\n", len(GET) + 8), ("bare line feeds", b"GET /\n\n", 7), ("a line of blanks ends it", b"GET /\r\n \t \r\n", 12),
        ("half a line", b"GET /ari", 0), ("no blank line yet", GET + b"A: b\r\n", 0), ("a line without a target is judged at once", b"GET\r\nmore", 5),
        ("an endless first line is judged at once", b"G" * 4095, 4096), ("an endless header line is judged at once", GET + b"a" * 4095, len(GET) + 4095),
        ("more than a hundred fields are judged at once", GET + b"a: b\r\n" * 101, len(GET) + 606), ("lines that are no fields do not count", GET + b"x\r\n" * 101, 0),
    )
    def test_end(self, data, end):
        """Where a head ends, or where it is known to be bad; 0 while it can still grow."""
        assert ari_ref.head_end(data, 0) == end

    def test_end_is_found_whatever_the_pieces(self):
        """A head that comes byte by byte ends at the same place."""
        data = GET + b"Host: x\r\n\r\nrest"
        ends = [ari_ref.head_end(data[:size], size - 1) for size in range(1, len(data) + 1)]
        assert next(end for end in ends if end) == data.index(b"rest")

    @rows("data, status, text",
        ("NUL", b"GET /\0 HTTP/1.1\r\n\r\n", 400, "Invalid Request"), ("no target", b"GET\r\n\r\n", 400, "Invalid Request"),
        ("a long request line", b"GET /" + b"x" * 4095 + b"\r\n\r\n", 400, "Request line too long"),
        ("a long header line", GET + b"a: " + b"x" * 4095 + b"\r\n\r\n", 400, "Header line too long"),
        ("too many fields", GET + b"a: b\r\n" * 101 + b"\r\n", 413, "Too many headers"),
        ("an unknown coding", GET + b"Transfer-Encoding: gzip\r\n\r\n", 501, "Unsupported Transfer-Encoding."),
        ("two codings", GET + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 501, "Unsupported Transfer-Encoding."),
        *((sentence, GET + fields + b"\r\n\r\n", 400, "Invalid Content-Length in request!") for sentence, fields in (
            ("a sign", b"Content-Length: +5"), ("letters", b"Content-Length: 5a"), ("a list", b"Content-Length: 5, 5"), ("nothing", b"Content-Length:"),
            ("two lengths", b"Content-Length: 5\r\nContent-Length: 5"), ("length and coding", b"Content-Length: 5\r\nTransfer-Encoding: chunked"),
            ("length and identity", b"Transfer-Encoding: identity\r\nContent-Length: 5"), ("a blank before the colon", b"Content-Length : 5"),
            ("a blank before the name", b" Content-Length: 5"), ("a continuation", b"Content-Length: 5\r\n 0"), ("over 31 bits", b"Content-Length: 2147483648"),
            ("digits that are not ASCII", "Content-Length: \u0665".encode()), ("more digits than int() takes", b"Content-Length: " + b"9" * 4000))),
    )
    def test_refuses(self, data, status, text):
        """A head that breaks a rule: status and words of the page."""
        with pytest.raises(ari_ref.HttpError) as caught:
            ari_ref.parse_head(data)
        assert (caught.value.status, caught.value.text) == (status, text)

    def test_reads_fields_as_asterisk_does(self):
        """Odd lines are skipped, the first of equal names counts, the CORS headers need their exact case and the last counts."""
        head = ari_ref.parse_head(b"  get /a?b HTTP/9 x\nA : 1\r\na: 2\r\nno colon\r\n: x\r\nEmpty:\r\nOrigin: p\r\norigin: q\r\nOrigin: r\r\nContent-Length: 007\r\n\r\n")
        assert (head.method, head.path, head.query, head.content_length) == ("GET", "/a", "b", 7)
        assert (head.by_name["a"], "empty" in head.by_name, head.exact("Origin"), head.last("a")) == ("1", False, "r", "2")

    @rows("data, body",
        ("chunks", b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"abcde"), ("upper case and zeros", b"00A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ("trailers are skipped", b"1\r\na\r\n0\r\nX: y\r\n\r\n", b"a"),
    )
    def test_chunked_body(self, data, body):
        """A chunked body, whole and byte by byte; what follows it is left."""
        whole, pieces = ari_ref.ChunkReader(True), ari_ref.ChunkReader(True)
        whole.feed(data + b"next")
        for at in range(len(data)):
            pieces.feed(data[at:at + 1])
        assert bytes(whole.data) == bytes(pieces.data) == body and whole.is_done and pieces.is_done and whole.rest == b"next"

    @pytest.mark.parametrize("data", [b"x\r\n", b"3 \r\n", b"0x3\r\n", b"+3\r\n", b";x\r\n", b"\r\n", b"3\nabc", b"3\r\nabcX", b"fffffffff\r\n", b"80000000\r\n", b"1" * 4095])
    def test_refuses_bad_chunks(self, data):
        """A size that only a lenient reader takes, or data without its line end."""
        with pytest.raises(ValueError):
            ari_ref.ChunkReader(True).feed(data)


# RFC 6455 5.7 gives these frames.
RFC_FRAMES = [
    ("a masked text message", "818537fa213d7f9f4d5158", [(1, b"Hello")], ""),
    ("a masked ping is answered with its payload", "898537fa213d7f9f4d5158", [], "8a0548656c6c6f"),
    ("a pong is taken in silence", "8a8537fa213d7f9f4d5158", [], ""),
    ("fragments make one message", "018337fa213d7f9f4d" "808237fa213d5b95", [(1, b"Hello")], ""),
    ("a ping between fragments", "01810000000041" "898000000000" "80810000000042", [(1, b"AB")], "8a00"),
    ("a binary message of 126 bytes", "82fe007e00000000" + "00" * 126, [(2, bytes(126))], ""),
    ("an empty message", "818000000000", [(1, b"")], ""),
    ("an empty close is answered 1000", "888000000000", [], "880203e8"),
    ("a close is answered with its code", "8882000000000bb8", [], "88020bb8"),
    ("whatever follows a close is not looked at", "888000000000ffff", [], "880203e8"),
]
BAD_FRAMES = [
    ("unmasked", "810548656c6c6f", 1002), ("a reserved bit", "c18000000000", 1002), ("a reserved opcode", "838000000000", 1002),
    ("a reserved control opcode", "8b8000000000", 1002), ("a fragmented ping", "098000000000", 1002),
    ("a long ping", "89fe007e00000000", 1002), ("a continuation of nothing", "808000000000", 1002),
    ("a message inside another", "018000000000" "818000000000", 1002),
    ("16 bits of length where 7 would do", "81fe007d00000000", 1002),
    ("64 bits of length where 16 would do", "81ff000000000000ffff00000000", 1002),
    ("a length with its top bit set", "81ff800000000000000000000000", 1002), ("a close of one byte", "88810000000003", 1002),
    ("a close code that may not be sent", "88820000000003ed", 1002), ("a close code below 1000", "88820000000003e7", 1002),
    ("a close reason that is not UTF-8", "88830000000003e8ff", 1007), ("text that is not UTF-8", "818100000000ff", 1007),
    ("text that ends inside a character", "818100000000c3", 1007), ("a fragment that is not UTF-8", "018100000000ff", 1007),
    ("a frame over 65535 bytes with its head", "81fefff800000000", 1009),
    ("a 64-bit length that is too large", "81ff000000000001000000000000", 1009),
    ("of two faults the protocol error", "c1ff000000000001000000000000", 1002),
]


@in_process
class TestFrames:
    """RFC 6455 as bytes in and bytes out."""

    @rows("data, messages, output", *RFC_FRAMES)
    def test_receives(self, data, messages, output):
        """Messages and answers are the same whether the bytes come at once or one by one."""
        whole, pieces = ari_ref.Connection(), ari_ref.Connection()
        got = [message for at in range(0, len(data), 2) for message in pieces.receive(bytes.fromhex(data[at:at + 2]))]
        assert whole.receive(bytes.fromhex(data)) == got == messages
        assert whole.to_send().hex() == pieces.to_send().hex() == output and whole.to_send() == b""

    @rows("data, code", *BAD_FRAMES)
    def test_refuses(self, data, code):
        """What no client may send ends with one close frame of two bytes."""
        connection = ari_ref.Connection()
        assert connection.receive(bytes.fromhex(data)) == [] and connection.close_code == code
        assert connection.to_send() == bytes([0x88, 2]) + code.to_bytes(2, "big")

    def test_refuses_a_message_that_grows_too_large(self):
        """Fragments that add up to more than 65,535 bytes end with 1009, judged from the head."""
        connection = ari_ref.Connection()
        for first in (0x01, 0x00):
            connection.receive(bytes([first, 0xFE, 0x90, 0x00, 0, 0, 0, 0]) + bytes(0x9000))
        assert connection.close_code == 1009

    @pytest.mark.parametrize("size, head", [(125, "817d"), (126, "817e007e"), (65535, "817effff"), (65536, "817f0000000000010000")])
    def test_sends_the_shortest_length(self, size, head):
        """A server's frame is unmasked, final, and has the shortest form of its length (RFC 6455 5.2)."""
        assert ari_ref.encode_frame(1, bytes(size)).hex()[:len(head)] == head

    def test_knows_when_a_frame_is_under_way(self):
        """Half a frame is noticed from its first byte to its last."""
        connection, states = ari_ref.Connection(), []
        for byte in bytes.fromhex("818137fa213d7f"):
            connection.receive(bytes([byte]))
            states.append(connection.is_inside_frame)
        assert states == [True] * 6 + [False]

    def test_says_a_close_of_its_own_once(self):
        """close() sends one frame, and nothing is heard after it."""
        connection = ari_ref.Connection()
        connection.close(1001)
        connection.close(1000)
        assert connection.to_send().hex() == "880203e9" and connection.receive(b"\x89\x80\0\0\0\0") == [] and connection.is_closed

    def test_a_frame_head_reads_well(self):
        """A frame head tells what it is, for the log."""
        assert str(ari_ref.parse_frame_head(bytes.fromhex("018500000000"))) == "text, 5 bytes, more follows"
        assert str(ari_ref.WebSocketError(1002, "why")) == "1002 why"


class Hearer:
    """Stands in for an event socket."""


def stasis_with(*names, **more):
    """A model at time 1000 with applications that are heard, its ids counted."""
    ids = itertools.count()
    stasis = ari_ref.Stasis(lambda: "id-%d" % next(ids), 1000.0, **more)
    stasis.open_applications(Hearer(), list(names), False)
    return stasis


def told(stasis):
    """The types of the events since the last look, with the leg they are about."""
    events, stasis.outbox = [event for event, _ in stasis.outbox], []
    return ["%s %s" % (event["type"], (event.get("channel") or event.get("peer") or {}).get("id", "")) for event in events]


def originate(stasis, seconds=30, app="demo"):
    near = stasis.new_pair("100@stasis-demo", "near", "far")
    stasis.originate(near, "", None, {}, app, "", None, seconds)
    return near


@in_process
class TestModel:
    """The model is moved by hand: no thread, no clock, no pause."""

    def test_an_unanswered_call_ends_when_its_time_is_over(self):
        """The near leg is simply destroyed, the far one hears of it; cause 0 on both."""
        stasis = stasis_with("demo")
        originate(stasis, 5)
        told(stasis)
        assert stasis.next_due() == 1005.0
        stasis.advance(1004.9)
        assert told(stasis) == []
        stasis.advance(1005.0)
        assert told(stasis) == ["ChannelHangupRequest far", "ChannelDestroyed near", "StasisEnd far", "ChannelVarset far",
                                "ChannelHangupRequest far", "ChannelDialplan far", "ChannelDestroyed far"]
        assert not stasis.channels and stasis.next_due() is None

    def test_an_answered_call_is_not_timed_out(self):
        """Answering takes the timer back."""
        stasis = stasis_with("demo")
        near = originate(stasis, 5)
        near.far_leg.answer()
        stasis.advance(2000.0)
        assert near.state == "Up" and near.application.name == "demo"

    def test_what_is_due_happens_at_its_own_time_and_in_order(self):
        """advance() over several timers runs each at its own moment."""
        stasis, seen = stasis_with(), []
        for seconds in (3, 1, 2, 1):
            stasis.after(seconds, lambda seconds=seconds: seen.append((seconds, stasis.now)))
        stasis.after(2, lambda: seen.append("never")).cancel()
        stasis.advance(1010.0)
        assert seen == [(1, 1001.0), (1, 1001.0), (2, 1002.0), (3, 1003.0)] and stasis.now == 1010.0

    def test_a_playback_ends_when_its_media_have_been_played(self):
        """Two sounds of one second, then done."""
        stasis = stasis_with("demo")
        far = originate(stasis).far_leg
        far.answer()
        told(stasis)
        playback = ari_ref.Playback(far, far.queue, "p", ["sound:a", "sound:b"], "en", 0, 3000)
        far.queue.add(playback.begin, playback)
        stasis.advance(1001.0)
        assert told(stasis) == ["PlaybackStarted ", "PlaybackContinuing ", "PlaybackStarted "]
        stasis.advance(1002.0)
        assert told(stasis) == ["PlaybackFinished "] and playback.state == "done" and not stasis.playbacks

    def test_a_pause_stops_the_clock_of_a_playback(self):
        """Half a second played, any time paused, half a second left."""
        stasis = stasis_with("demo")
        far = originate(stasis).far_leg
        playback = ari_ref.Playback(far, far.queue, "p", ["sound:a"], "en", 0, 3000)
        far.queue.add(playback.begin, playback)
        stasis.advance(1000.5)
        playback.control("pause")
        stasis.advance(1010.0)
        playback.control("unpause")
        stasis.advance(1010.4)
        assert playback.state == "playing"
        stasis.advance(1010.5)
        assert playback.state == "done"

    def test_a_recording_that_hears_nothing_ends_after_four_seconds(self):
        """No audio for 4 s: done, with a duration of 0 (main/app.c)."""
        stasis = stasis_with("demo")
        far = originate(stasis).far_leg
        recording = ari_ref.LiveRecording(far, "r", "wav", 0, 0, "fail", "", False)
        far.queue.add(recording.begin, recording)
        told(stasis)
        stasis.advance(1003.9)
        assert told(stasis) == []
        stasis.advance(1004.0)
        assert told(stasis) == ["RecordingFinished "] and recording.state == "done"

    def test_a_recording_counts_what_it_hears_and_not_its_pauses(self):
        """1 s heard, 5 s paused, 1.5 s heard: duration 2; the limit is counted from the start in whole seconds."""
        stasis = stasis_with("demo")
        near = originate(stasis)
        far = near.far_leg
        far.answer()
        near.set_silence(True)
        recording = ari_ref.LiveRecording(far, "r", "sln", 0, 0, "fail", "", False)
        far.queue.add(recording.begin, recording)
        stasis.advance(1001.0)
        recording.pause(True)
        stasis.advance(1006.0)
        recording.pause(False)
        stasis.advance(1007.5)
        recording.stop()
        event = stasis.outbox[-1][0]
        assert event["recording"]["duration"] == 2 and stasis.recordings.get("r") == ("sln", 2500.0)

    def test_a_longest_duration_ends_a_recording_in_the_second_after_it(self):
        """maxDurationSeconds compares whole seconds of the clock, and only while audio arrives."""
        stasis = stasis_with("demo")
        near = originate(stasis)
        near.far_leg.answer()
        stasis.advance(1000.25)
        near.set_silence(True)
        recording = ari_ref.LiveRecording(near.far_leg, "r", "wav", 2, 0, "fail", "", False)
        near.far_leg.queue.add(recording.begin, recording)
        stasis.advance(1002.9)
        assert recording.state == "recording"
        stasis.advance(1003.0)
        assert recording.state == "done" and stasis.outbox[-1][0]["recording"]["duration"] == 2

    def test_audio_comes_through_a_bridge(self):
        """What plays on one pair is heard on the other side of a bridge, and a bridge of three always carries frames."""
        stasis = stasis_with("demo")
        pairs = [stasis.new_pair("1@stasis-demo", "n%d" % n, "f%d" % n) for n in range(3)]
        for near in pairs:
            stasis.originate(near, "", None, {}, "demo", "", None, None)
            near.far_leg.answer()
        bridge = ari_ref.Bridge(stasis, "b", "", False, "talker")
        bridge.add(pairs[0].far_leg)
        bridge.add(pairs[1].far_leg)
        assert not pairs[0].hears_audio()
        pairs[1].set_silence(True)
        assert pairs[1].far_leg.hears_audio() and pairs[0].hears_audio()
        pairs[1].set_silence(False)
        bridge.add(pairs[2].far_leg)
        assert bridge.technology == "softmix" and pairs[0].hears_audio()

    def test_digits_do_not_run_round_for_ever(self):
        """Two pairs between two bridges pass a digit on once."""
        stasis = stasis_with("demo")
        pairs = [stasis.new_pair("1@stasis-demo", "n%d" % n, "f%d" % n) for n in range(2)]
        for near in pairs:
            stasis.originate(near, "", None, {}, "demo", "", None, None)
            near.far_leg.answer()
        for name, legs in (("a", pairs), ("b", [near.far_leg for near in pairs])):
            bridge = ari_ref.Bridge(stasis, name, "", False, "talker")
            for leg in legs:
                bridge.add(leg)
        told(stasis)
        pairs[0].send_digits("5", 100)
        assert sorted(told(stasis)) == ["ChannelDtmfReceived f0", "ChannelDtmfReceived n1"]

    def test_an_application_without_interests_goes_with_its_socket(self):
        """With a followed bridge it stays, inactive; without it is forgotten."""
        stasis = stasis_with()
        first = Hearer()
        stasis.open_applications(first, ["kept", "lost"], False)
        ari_ref.Bridge(stasis, "b", "", False, "talker").follow(stasis.applications["kept"])
        stasis.close_applications(first)
        assert list(stasis.applications) == ["kept"] and stasis.applications["kept"].connection is None


def sound_folder(folder):
    """en/deep/one.wav of 1 s, en/half.ulaw of 0.5 s, fr/one.gsm of 1 s, en/odd.g722, and a description."""
    (folder / "en" / "deep").mkdir(parents=True)
    (folder / "fr").mkdir()
    with wave.open(str(folder / "en" / "deep" / "one.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", "not compressed"))
        file.writeframes(bytes(16000))
    (folder / "en" / "half.ulaw").write_bytes(bytes(4000))
    (folder / "en" / "odd.g722").write_bytes(b"x")
    (folder / "en" / "notes.txt").write_text("no sound")
    (folder / "fr" / "only.gsm").write_bytes(bytes(1650))
    (folder / "en" / "core-sounds-en.txt").write_text("; comment\nhalf: Half a second.\nno colon\n")
    return str(folder)


@in_process
class TestSoundFiles:
    """Which sounds exist and how long they last, by their files."""

    @rows("name, language, length",
        ("a wav by its size without the header", "deep/one", "en", 1000.0), ("another language falls back to English", "half", "de", 500.0),
        ("a region falls back to its language", "only", "fr_CA", 1000.0), ("a format that does not tell lasts a second", "odd", "en", 1000.0),
        ("what is not there does not exist", "none", "en", None), ("what is there in French only does not exist in English", "only", "en", None),
    )
    def test_length(self, tmp_path, name, language, length):
        """Length in ms, None for a sound that does not exist."""
        assert ari_ref.read_sounds(sound_folder(tmp_path)).length_ms(name, language) == length

    def test_list(self, tmp_path):
        """Every file is listed with its codec; a description goes with its sound."""
        sounds = ari_ref.read_sounds(sound_folder(tmp_path))
        assert sorted(sounds.listed()) == [("deep/one", "en", "slin"), ("half", "en", "ulaw"), ("odd", "en", "g722"), ("only", "fr", "gsm")]
        assert sounds.texts == {"half": "Half a second."}

    def test_without_files_every_sound_lasts_a_second(self):
        """No folder: every sound exists, but one without a name."""
        assert ari_ref.Sounds().length_ms("anything", "xx") == 1000.0 and ari_ref.Sounds().length_ms("", "en") is None

    @rows("uri, outcome",
        ("a number is spelt", "number:12", (True, 2000.0)), ("without digits a number fails", "number:x", None), ("characters are spelt", "characters:ab", (True, 2000.0)),
        ("a tone lasts", "tone:busy;tonezone=de", (True, None)), ("an unknown tone fails", "tone:none", (False, 0)), ("an unknown scheme is nothing", "x:y", None),
        ("a recording that is not there is nothing", "recording:none", None),
    )
    def test_medium(self, uri, outcome):
        """What playing a URI comes to: success and length."""
        medium = stasis_with().medium(uri, "en")
        assert (medium and medium[:2]) == outcome

    def test_a_number_fails_where_a_digit_has_no_sound(self, tmp_path):
        """With files, and no digits among them: number fails at once, digits succeed at once."""
        stasis = stasis_with(sounds=ari_ref.read_sounds(sound_folder(tmp_path)))
        assert stasis.medium("number:7", "en")[:2] == (False, 0) and stasis.medium("digits:7", "en")[:2] == (True, 0)


@in_process
class TestRecordingFiles:
    """Stored recordings in memory and in a folder."""

    @pytest.mark.parametrize("suffix, milliseconds, size", [
        ("wav", 0, 44), ("wav", 1000, 16044), ("wav16", 500, 16044), ("sln", 250, 4000), ("sln16", 1000, 32000), ("ulaw", 1000, 8000),
        ("alaw", 10, 80), ("gsm", 1000, 0), ("g722", 1000, 0)])
    def test_a_file_is_as_long_as_its_silence(self, suffix, milliseconds, size):
        """Formats that can be made are; the others are empty files."""
        data = ari_ref.silent_file(suffix, milliseconds)
        assert len(data) == size
        if suffix == "wav":
            with wave.open(io.BytesIO(data)) as file:
                assert (file.getframerate(), file.getnframes()) == (8000, milliseconds * 8)

    def test_silence_is_what_the_format_calls_silence(self):
        """ulaw 0xFF, alaw 0xD5, linear 0."""
        assert [ari_ref.silent_file(suffix, 1)[:1] for suffix in ("ulaw", "alaw", "sln")] == [b"\xff", b"\xd5", b"\0"]

    def test_a_folder_keeps_and_finds_them(self, tmp_path):
        """begin, end, copy and delete write files; a second store finds what the first left."""
        store = ari_ref.Recordings(str(tmp_path))
        assert store.begin("a/b", "wav", False) == 0.0 and (tmp_path / "a" / "b.wav").stat().st_size == 44
        store.end("a/b", "wav", 1000)
        store.copy("a/b", "c")
        again = ari_ref.Recordings(str(tmp_path))
        assert again.get("a/b") == ("wav", 1000.0) and len(again.data("c")) == 16044
        assert again.begin("c", "wav", True) == 1000.0
        again.delete("c")
        assert not (tmp_path / "c.wav").exists() and again.get("c") is None

    def test_wav49_is_stored_as_WAV(self):
        """The one format whose file has another suffix."""
        store = ari_ref.Recordings()
        store.begin("a", "wav49", False)
        assert store.get("a") == ("WAV", 0.0) and store.data("a") == b""

    def test_a_folder_that_cannot_be_written_fails_the_recording(self, tmp_path):
        """RecordingFailed with a cause, and nothing is left."""
        (tmp_path / "file").write_text("in the way")
        stasis = stasis_with("demo", recordings=ari_ref.Recordings(str(tmp_path)))
        far = originate(stasis).far_leg
        recording = ari_ref.LiveRecording(far, "file/r", "wav", 0, 0, "fail", "", False)
        far.queue.add(recording.begin, recording)
        event = stasis.outbox[-1][0]
        assert event["type"] == "RecordingFailed" and event["recording"]["cause"].startswith("Cannot write") and not stasis.live_recordings

    def test_a_file_that_cannot_be_closed_fails_the_recording(self, tmp_path):
        """The same at the end of a recording."""
        stasis = stasis_with("demo", recordings=ari_ref.Recordings(str(tmp_path)))
        far = originate(stasis).far_leg
        recording = ari_ref.LiveRecording(far, "r", "wav", 0, 0, "fail", "", False)
        far.queue.add(recording.begin, recording)
        (tmp_path / "r.wav").unlink()
        (tmp_path / "r.wav").mkdir()
        recording.stop()
        assert stasis.outbox[-1][0]["type"] == "RecordingFailed"

    @rows("name, inside", ("a plain name", "a", True), ("a folder", "a/b", True), ("up and down", "a/../b", True), ("out", "../a", False), ("out by a slash", "/../a", False),
          ("the folder itself", "a/..", False))
    def test_names_never_lead_out(self, name, inside):
        """A recording's name stays inside the folder."""
        assert ari_ref.is_inside(name) is inside


# === (b) conformance ===
#
# Over the wire only.  What the server under test must offer, and the variable that says it otherwise:
#
#     a user who may write                                   ARI_AUTH               asterisk:asterisk
#     a user with read_only = yes                            ARI_READ_ONLY_AUTH     reader:readonly
#     a user with password_format = crypt                    ARI_CRYPTED_AUTH       crypted:s3cret
#     a user without a password                              ARI_NO_PASSWORD_USER   nopass
#     an origin of allowed_origins                           ARI_ALLOWED_ORIGIN     http://good.example
#     an origin that is not allowed                          ARI_REFUSED_ORIGIN     http://evil.example
#     the realm                                              ARI_REALM              Asterisk REST Interface
#     channelvars                                            ARI_CHANNELVARS        FOO,BAR
#     a dialplan context that runs Stasis({app})             ARI_CONTEXT            stasis-{app}
#     a sound of one second                                  ARI_SOUND              ref-one
#     a sound of three seconds                               ARI_LONG_SOUND         ref-three
#     pretty = no, and a second server with pretty = yes     ARI_PRETTY_URL         none
#     websocket_write_timeout = 100, the default
#
# A case whose precondition is missing is skipped and says which; one that a variable promises is never skipped for it.
#
#     ARI_EXACT=1        also the cases graded "exact": order and case of header fields, white space of JSON and pages
#     ARI_STRICT=1       also the departures: where ari_ref refuses what Asterisk takes (some of them end an Asterisk)
#     ARI_DEADLINE=5     seconds that a reply or an event may take
#
# Left open: what only a long wait shows (an idle connection after 15 s, half a request after 30, half a frame after 9).
# The first two are always on for the module itself.  The server need not be empty: a case makes ids of its own, asserts
# only about those, and cleans up.  What stays: applications that subscribed to everything, which ARI can not remove.

CONTRACT = {
    "ARI_AUTH": "asterisk:asterisk",
    "ARI_READ_ONLY_AUTH": "reader:readonly",
    "ARI_CRYPTED_AUTH": "crypted:s3cret",
    "ARI_NO_PASSWORD_USER": "nopass",
    "ARI_ALLOWED_ORIGIN": "http://good.example",
    "ARI_REFUSED_ORIGIN": "http://evil.example",
    "ARI_REALM": "Asterisk REST Interface",
    "ARI_CHANNELVARS": "FOO,BAR",
    "ARI_CONTEXT": "stasis-{app}",
    "ARI_SOUND": "ref-one",
    "ARI_LONG_SOUND": "ref-three",
}
SOUND_SECONDS = {"ref-half": 0.5, "ref-one": 1, "ref-three": 3}
CONFIGURATION = """
[general]
enabled = yes
pretty = {pretty}
allowed_origins = http://good.example,https://app.example:8443
channelvars = FOO,BAR
websocket_write_timeout = 100

[asterisk]
type = user
password = asterisk

[reader]
type = user
read_only = yes
password = readonly

[crypted]
type = user
password_format = crypt
password = $6$saltsalt$As4wrv0kZlfch1du9WeH7qhskyLriQWySXrZzynnvi46nFnNxjdpl6ksRegrrKexvhIa/Iny8S8uF3fVWTMuC1

[nopass]
type = user
"""
EXACT = IN_PROCESS or os.environ.get("ARI_EXACT") == "1"
STRICT = IN_PROCESS or os.environ.get("ARI_STRICT") == "1"
DEADLINE_SECONDS = float(os.environ.get("ARI_DEADLINE", "5"))
POLL_SECONDS = 0.005

UNSET = object()                                    # None is a JSON value and a way to say "no credentials"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}")
WEBSOCKET_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"                        # RFC 6455 1.3
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10               # RFC 6455 5.2


def setting(name):
    """What the contract says of the server under test, or its variable."""
    return CONTRACT[name] if IN_PROCESS else os.environ.get(name, CONTRACT[name])


def message(text):
    """The body of nearly every refusal."""
    return {"message": text}


# What a failure says. The rule is the first paragraph of the case's docstring unless the case gives another.

class CurrentCase:
    """Which case is running: for the head of a failure."""
    name = rule = ""


def fail(request, expected, actual, rule=None):
    """End the case with what a reader needs to repair the server: rule, request, expected, actual."""
    lines = [CurrentCase.name]
    for label, text in (("rule", rule or CurrentCase.rule), ("request", request), ("expected", expected),
                        ("actual", actual)):
        lines.append("  %-9s %s" % (label, text.replace("\n", "\n" + " " * 12)))
    pytest.fail("\n".join(lines), pytrace=False)


def matches(actual, wanted, whole=True):
    """Does a JSON value agree with the wanted one?

    In the wanted one a type stands for any value of it, a pattern for any text that it matches, a set for a list in any
    order.  With whole=False objects may have more members, and a text also stands for an object of that id or name.
    """
    if isinstance(wanted, dict):
        return (isinstance(actual, dict) and not (whole and len(actual) != len(wanted))
                and all(key in actual and matches(actual[key], value, whole) for key, value in wanted.items()))
    if isinstance(wanted, list):
        return (isinstance(actual, list) and len(actual) == len(wanted)
                and all(matches(one, other, whole) for one, other in zip(actual, wanted)))
    if isinstance(wanted, set):
        return isinstance(actual, list) and len(actual) == len(wanted) and set(actual) == wanted
    if isinstance(wanted, type):
        return isinstance(actual, wanted)
    if isinstance(wanted, re.Pattern):
        return isinstance(actual, str) and wanted.fullmatch(actual) is not None
    if isinstance(wanted, str) and isinstance(actual, dict) and not whole:
        return wanted in (actual.get("id"), actual.get("name"))
    return actual == wanted and isinstance(actual, bool) == isinstance(wanted, bool)


def shown(value, limit=600):
    """A JSON value, wanted or seen, as one line."""
    def other(thing):
        if isinstance(thing, set):
            return ["in any order"] + sorted(thing)
        return "<%s>" % (thing.pattern if isinstance(thing, re.Pattern) else getattr(thing, "__name__", thing))
    text = jsonlib.dumps(value, ensure_ascii=False, default=other)
    return text if len(text) <= limit else text[:limit] + " ..."


# The suite's own HTTP and WebSocket client: one misreading must not pass at both ends.

class NoReply(Exception):
    """What came instead of the bytes that were waited for."""


class Reply:
    """One answer: status line, header fields in order, body. `problem` says what came when there was none."""

    def __init__(self, connection, request, problem=None):
        self.connection, self.request, self.problem = connection, request, problem
        self.version, self.status, self.phrase, self.headers, self.body = "", None, "", [], b""

    def header(self, name):
        """The value of the first such field, or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def json(self):
        """The value of a JSON body; UNSET when the body is none."""
        try:
            return jsonlib.loads(self.body.decode("utf-8"))
        except ValueError:
            return UNSET

    def __str__(self):
        if self.problem:
            return self.problem
        body = self.body.decode("utf-8", "backslashreplace")
        return ("%s %s %s" % (self.status, self.phrase, body if len(body) <= 600 else body[:600] + " ...")).strip()


class Frame(collections.namedtuple("Frame", "opcode payload fin rsv masked")):
    """One WebSocket frame as it came."""

    def __str__(self):
        return "frame opcode=%d fin=%d rsv=%d %s%s" % (self.opcode, self.fin, self.rsv, "masked " * self.masked,
                                                     self.payload[:80])


class Connection:
    """One TCP connection to the server. Every wait ends at a deadline."""

    def __init__(self, server, receive_buffer_bytes=None):
        self.unread = b""
        family, kind, protocol, _, address = socket.getaddrinfo(server.host, server.port, 0, socket.SOCK_STREAM)[0]
        self.socket = socket.socket(family, kind, protocol)
        if receive_buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.settimeout(DEADLINE_SECONDS)
        self.socket.connect(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, data):
        """Send it all; a peer that closed meanwhile shows when its answer is read."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def half_close(self):
        """Say that nothing more will be sent."""
        self.socket.shutdown(socket.SHUT_WR)

    def close(self):
        self.socket.close()

    def _receive(self, deadline):
        try:
            self.socket.settimeout(max(0.001, deadline - time.monotonic()))
            data = self.socket.recv(65536)
        except socket.timeout:
            raise NoReply("nothing more within %g seconds" % DEADLINE_SECONDS) from None
        except OSError:
            data = b""
        if not data:
            raise NoReply("connection closed")
        self.unread += data

    def take(self, count, deadline):
        """The next `count` bytes."""
        while len(self.unread) < count:
            self._receive(deadline)
        data, self.unread = self.unread[:count], self.unread[count:]
        return data

    def take_line(self, deadline):
        """The next line without its CR LF."""
        while b"\r\n" not in self.unread:
            self._receive(deadline)
        line, _, self.unread = self.unread.partition(b"\r\n")
        return line.decode("latin-1")

    def drain(self):
        """Throw away what comes; True when the server closes in the end."""
        while True:
            try:
                self._receive(time.monotonic() + DEADLINE_SECONDS)
            except NoReply as problem:
                return str(problem) == "connection closed"
            self.unread = b""

    def is_at_end(self):
        """True when the server closes and has nothing more to say."""
        try:
            self.take(1, time.monotonic() + DEADLINE_SECONDS)
        except NoReply as problem:
            return str(problem) == "connection closed"
        return False

    def reply(self, request=""):
        """Read one reply (RFC 9112 6.3, but HEAD as any: Asterisk sends its body)."""
        reply, deadline = Reply(self, request), time.monotonic() + DEADLINE_SECONDS
        try:
            reply.version, _, rest = self.take_line(deadline).partition(" ")
            code, _, reply.phrase = rest.partition(" ")
            reply.status = int(code) if code.isdigit() else None
            for line in iter(lambda: self.take_line(deadline), ""):
                name, _, value = line.partition(":")
                reply.headers.append((name, value[1:] if value.startswith(" ") else value))
            if reply.status != 101:
                reply.body = self.take(int(reply.header("Content-Length") or 0), deadline)
        except (NoReply, ValueError) as problem:
            reply.problem = "no reply: %s" % problem
        return reply

    def frame(self, deadline):
        """Read one WebSocket frame (RFC 6455 5.2)."""
        first, second = self.take(2, deadline)
        length = second & 0x7F
        if length == 126:
            length, = struct.unpack("!H", self.take(2, deadline))
        elif length == 127:
            length, = struct.unpack("!Q", self.take(8, deadline))
        return Frame(first & 0x0F, self.take(length, deadline), first >> 7, first >> 4 & 7, second >> 7)


def frame_bytes(opcode, payload=b"", fin=1, rsv=0, mask=b"\x11\x22\x33\x44"):
    """A frame as a client sends it; mask=None leaves it unmasked (RFC 6455 5.2 and 5.3)."""
    length, masked = len(payload), 0x80 if mask else 0
    if length < 126:
        head = struct.pack("!BB", fin << 7 | rsv << 4 | opcode, masked | length)
    elif length < 65536:
        head = struct.pack("!BBH", fin << 7 | rsv << 4 | opcode, masked | 126, length)
    else:
        head = struct.pack("!BBQ", fin << 7 | rsv << 4 | opcode, masked | 127, length)
    if not mask:
        return head + payload
    return head + mask + bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))


def head(line, *fields):
    """A request head: line and header fields."""
    return "".join(text + "\r\n" for text in (line,) + fields + ("",))


def basic(auth):
    """The value of an Authorization field for user:password."""
    return "Basic " + base64.b64encode(auth.encode()).decode()


def with_parameters(path, params):
    """Path and query: params is a dict, pairs, or a query as it stands."""
    if not params:
        return path
    if not isinstance(params, str):
        pairs = params.items() if isinstance(params, dict) else params
        params = "&".join("%s=%s" % (quote_plus(str(name)), quote_plus(str(value), safe=":/,@;*"))
                          for name, value in pairs)
    return path + "?" + params


def body_bytes(json=UNSET, form=None, body=None):
    """(Content-Type or None, bytes or None) of a request body that is given in one of these ways."""
    kind = None
    if json is not UNSET:
        kind, body = "application/json", jsonlib.dumps(json, ensure_ascii=False)
    elif form is not None:
        kind, body = "application/x-www-form-urlencoded", with_parameters("", form).replace("?", "", 1)
    return kind, body.encode() if isinstance(body, str) else body


def curl_line(method, url, auth, headers, body):
    """The request as a line for a shell."""
    words = ["curl", "-i"] + (["-u", auth] if auth else []) + (["-X", method] if method != "GET" else [])
    for field in headers:
        words += ["-H", "%s: %s" % field]
    if body is not None:
        text = body.decode("utf-8", "backslashreplace")
        words += ["-d", text if len(text) < 300 else "%s... [%d bytes]" % (text[:60], len(body))]
    return " ".join(map(shlex.quote, words + [url]))


class Client:
    """Requests of one case: names of its own, sockets that end with it, and a sweep of what it made."""

    def __init__(self, server, prefix):
        self.server, self.prefix = server, prefix
        self.app = prefix + "-app"
        self.context = setting("ARI_CONTEXT").format(app=self.app)
        self.ping = self.path("/asterisk/ping")
        self.authorization = "Authorization: " + basic(setting("ARI_AUTH"))
        self.connections, self.changed, self._previous = [], set(), None

    # names

    def id(self, word):
        """An id that only this case uses."""
        return "%s-%s" % (self.prefix, word)

    def path(self, path):
        """The path of an ARI resource on this server: `/channels` is `/ari/channels`."""
        return self.server.root + path

    def url(self, target):
        return "http://%s:%d%s" % (self.server.host, self.server.port, target)

    # one request

    def connect(self, **options):
        """A connection that is closed when the case ends."""
        self.connections.append(Connection(self.server, **options))
        return self.connections[-1]

    def raw(self, text, half_close=False):
        """Send these very characters (bytes, or text as Latin-1) on a new connection; the reply to them."""
        data = text if isinstance(text, bytes) else text.encode("latin-1")
        shell = "printf %s | nc %s %d" % (shlex.quote(re.sub(
            r"(.)\1{99,}", lambda run: "%s[%d times]" % (run.group(1), len(run.group())),
            repr(data)[2:-1].replace("%", "%%"))), self.server.host, self.server.port)
        return self._exchange(data, shell, half_close)

    def request(self, method, path="", params=None, json=UNSET, form=None, body=None, headers=(), auth=UNSET,
                target=None):
        """Send one request on a new connection; the reply to it.

        `path` is below /ari and percent-encoded already; `target` is a whole request target instead.  `params` and
        `form` are dict, pairs, or text as it stands; `json` any value; `body` text or bytes of the type in `headers`.
        `auth` is user:password, None for none, else the user who may write.
        """
        target = with_parameters(self.path(path) if target is None else target, params)
        auth = setting("ARI_AUTH") if auth is UNSET else auth
        headers = list(headers.items() if isinstance(headers, dict) else headers)
        kind, body = body_bytes(json, form, body)
        headers = [("Content-Type", kind)] * (kind is not None) + headers
        fields = ["Host: %s:%d" % (self.server.host, self.server.port)]
        fields += ["Authorization: " + basic(auth)] if auth else []
        fields += ["%s: %s" % field for field in headers]
        fields += ["Content-Length: %d" % len(body)] if body is not None else []
        if method != "GET" and target.startswith(self.server.root + "/"):
            self.changed.add(target[len(self.server.root) + 1:].split("?")[0].split("/")[0])
        data = head("%s %s HTTP/1.1" % (method, target), *fields).encode("utf-8", "surrogateescape") + (body or b"")
        return self._exchange(data, curl_line(method, self.url(target), auth, headers, body))

    def get(self, path, params=None, **more):
        return self.request("GET", path, params, **more)

    def post(self, path, params=None, **more):
        return self.request("POST", path, params, **more)

    def put(self, path, params=None, **more):
        return self.request("PUT", path, params, **more)

    def delete(self, path, params=None, **more):
        return self.request("DELETE", path, params, **more)

    def options(self, path, params=None, **more):
        return self.request("OPTIONS", path, params, **more)

    def _exchange(self, data, request, half_close=False):
        if self._previous:
            self._previous.close()
        self._previous = connection = Connection(self.server)
        connection.send(data)
        if half_close:
            connection.half_close()
        return connection.reply(request)

    # event sockets

    def handshake(self, app=None, query=None, change=None, more=(), auth=UNSET, target=None, method="GET", **options):
        """Ask for an event socket; the reply, whose connection lives as long as the case.

        `change` replaces fields of the usual handshake (None leaves one out), `more` adds lines.
        """
        fields = {"Host": "%s:%d" % (self.server.host, self.server.port), "Upgrade": "websocket",
                  "Connection": "Upgrade", "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
                  "Sec-WebSocket-Version": "13"}
        auth = setting("ARI_AUTH") if auth is UNSET else auth
        if auth:
            fields["Authorization"] = basic(auth)
        fields.update(change or {})
        if query is None:
            query = {"app": self.app if app is None else app}
        target = with_parameters(target or self.path("/events"), query)
        lines = ["%s: %s" % field for field in fields.items() if field[1] is not None] + list(more)
        connection = self.connect(**options)
        connection.send(head("%s %s HTTP/1.1" % (method, target), *lines).encode("utf-8", "surrogateescape"))
        return connection.reply("curl -i %s '%s'" % (" ".join("-H %s" % shlex.quote(line) for line in lines[1:]),
                                                     self.url(target)))

    def events(self, app=None, subscribe_all=False, **options):
        """An open event socket for an application, by default the case's own."""
        app = self.app if app is None else app
        query = [("app", app)] + ([("subscribeAll", "true")] if subscribe_all else [])
        reply = self.handshake(query=query, **options)
        if reply.status != 101:
            fail(reply.request, "101 and an event socket", str(reply))
        return Events(self, reply, app.split(",")[0])

    # what nearly every chapter needs

    def application(self, name=None):
        """GET /applications/NAME, by default the case's own."""
        return self.get("/applications/" + quote(self.app if name is None else name, safe=""))

    def user_event(self, name, app=None, **more):
        """POST /events/user/NAME to an application, by default the case's own."""
        return self.post("/events/user/" + name, {"application": self.app if app is None else app}, **more)

    def bridge(self, word="bridge", **params):
        """Make a bridge; its id."""
        bridge_id = self.id(word)
        expect(self.post("/bridges/" + bridge_id, params), status=200)
        return bridge_id

    def pair(self, events, word="pair", answer=True, **params):
        """Originate a Local pair into the application of `events`; ids of the near and the far leg, both in it.

        With answer=False only the far leg is in the application, and the near one is Down.
        """
        near, far = self.id(word + "-near"), self.id(word + "-far")
        query = {"endpoint": "Local/100@" + setting("ARI_CONTEXT").format(app=events.app), "app": events.app,
                 "channelId": near, "otherChannelId": far}
        query.update(params)
        expect(self.post("/channels", query), status=200)
        events.expect("StasisStart", channel=far)
        if answer:
            expect(self.post("/channels/%s/answer" % far), status=204)
            events.expect("StasisStart", channel=near)
        return near, far

    def eventually(self, path, **expectation):
        """Ask for a resource until it is as expected: for what the server does on its own time."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            reply = self.get(path)
            if not differences(reply, **expectation) or time.monotonic() > deadline:
                return expect(reply, **expectation)
            time.sleep(POLL_SECONDS)

    def sweep(self):
        """Close what is open and delete what this case made, recognised by its prefix."""
        for connection in self.connections + [self._previous] * (self._previous is not None):
            connection.close()
        for collection, path, key in (("channels", "/channels", "id"), ("bridges", "/bridges", "id"),
                                      ("deviceStates", "/deviceStates", "name"), ("mailboxes", "/mailboxes", "name"),
                                      ("recordings", "/recordings/stored", "name")):
            if collection in self.changed or collection == "recordings" and {"channels", "bridges"} & self.changed:
                for thing in self.get(path).json or []:
                    if self.prefix in jsonlib.dumps(thing):
                        self.delete("%s/%s" % (path, quote(thing[key], safe="")))
        self._previous.close() if self._previous else None


class Events:
    """An open event socket. What was read and not asked for yet waits in `waiting`."""

    def __init__(self, client, reply, app):
        self.client, self.app, self.connection = client, app, reply.connection
        self.request = reply.request.split()[-1].strip("'")
        self.waiting, self.control, self.sent = [], [], ""

    # frames

    def send(self, opcode, payload=b"", **how):
        """Send one frame; `how` as frame_bytes()."""
        self.send_bytes(frame_bytes(opcode, payload, **how))

    def send_bytes(self, data):
        self.sent = "frame bytes %s%s" % (data[:40].hex(), "..." * (len(data) > 40))
        self.connection.send(data)

    def _read(self, deadline):
        """Read one frame and file it: events wait, control frames too."""
        frame = self.connection.frame(deadline)
        if frame.opcode == TEXT:
            try:
                self.waiting.append(jsonlib.loads(frame.payload.decode("utf-8")))
            except ValueError:
                self.waiting.append({"not JSON": repr(frame.payload)})
        else:
            self.control.append(frame)
        return frame

    def frame(self):
        """The next frame of any kind; events are not filed."""
        return self.connection.frame(time.monotonic() + DEADLINE_SECONDS)

    def expect_frame(self, opcode, payload, rule=None):
        """The next frame that is no event is this one."""
        try:
            while not self.control:
                self._read(time.monotonic() + DEADLINE_SECONDS)
            actual = self.control.pop(0)
        except NoReply as problem:
            actual = problem
        if not isinstance(actual, Frame) or (actual.opcode, actual.payload, actual.fin, actual.rsv,
                                             actual.masked) != (opcode, payload, 1, 0, 0):
            fail("%s on %s" % (self.sent, self.request), str(Frame(opcode, payload, 1, 0, 0)), str(actual), rule)

    def expect_close(self, code, rule=None):
        """The server sends a close frame with this code alone, then ends TCP."""
        self.expect_frame(CLOSE, struct.pack("!H", code), rule)
        if not self.connection.is_at_end():
            fail("%s on %s" % (self.sent, self.request), "nothing after the close frame, and the end of TCP",
                 "more bytes or an open connection", rule)

    def close(self, code=1000):
        """Close in good order; when it returns, the server has unregistered the applications."""
        self.send(CLOSE, struct.pack("!H", code))
        self.expect_close(code)

    # events

    def find(self, kind, **members):
        """The events read so far, and not asked for yet, that agree."""
        return [event for event in self.waiting
                if event.get("type") == kind and matches(event, members, whole=False)]

    def expect(self, kind, rule=None, **members):
        """Wait for an event with these members (a text stands for an object of that id or name), and return it.

        Events of other subjects may come before it; they stay for later calls.
        """
        deadline = time.monotonic() + DEADLINE_SECONDS
        problem = None
        while not self.find(kind, **members) and problem is None:
            try:
                if self._read(deadline).opcode == CLOSE:
                    problem = "close frame"
            except NoReply as silence:
                problem = str(silence)
        found = self.find(kind, **members)
        if not found:
            self._fail("event %s %s" % (kind, shown(members)), problem, rule)
        self.waiting.remove(found[0])
        return found[0]

    def expect_in_order(self, kinds, rule=None, **members):
        """Wait for the next events with these members (all about one channel, say); their types are these, in order."""
        seen = []
        while len(seen) < len(kinds):
            mine = [event for event in self.waiting if matches(event, members, whole=False)]
            if mine:
                self.waiting.remove(mine[0])
                seen.append(mine[0])
                continue
            try:
                self._read(time.monotonic() + DEADLINE_SECONDS)
            except NoReply:
                break
        if [event.get("type") for event in seen] != list(kinds):
            fail(self.request, "events %s in this order: %s" % (shown(members), ", ".join(kinds)),
                 ", ".join(str(event.get("type")) for event in seen) or "none", rule)
        return seen

    def marker(self):
        """Wait for a user event of our own: whatever was queued before it has come."""
        name = self.client.id("marker-%d" % next(Events._markers))
        expect(self.client.user_event(name, self.app), status=204)
        self.expect("ChannelUserevent", eventname=name)
    _markers = itertools.count()

    def expect_none(self, kind, rule=None, after=None, **members):
        """Prove that no such event was sent: none has come when a later one has (`after()` waits for it)."""
        (after or self.marker)()
        found = self.find(kind, **members)
        if found:
            fail(self.request, "no event %s %s" % (kind, shown(members)), shown(found[0]), rule)

    def _fail(self, expected, problem, rule):
        seen = "\n".join(shown(event, 200) for event in self.waiting[-8:]) or "no events"
        fail(self.request, expected, "%s; waiting: %s" % (problem, seen), rule)


USUAL_PHRASES = {
    101: "Switching Protocols", 200: "OK", 201: "Created", 202: "Accepted", 204: "No Content", 400: "Bad Request",
    401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
    412: "Precondition Failed", 413: "Request Entity Too Large", 422: "Unprocessable Entity", 426: "Upgrade Required",
    500: "Internal Server Error", 501: "Not Implemented", 503: "Service Unavailable",
}


def differences(reply, status=None, json=UNSET, has=UNSET, phrase=None, headers=None, page=None, body=None,
                closes=None):
    """What of a reply is not as expected, see expect(): [(member, actual text if str(reply) does not show it)]."""
    if reply.problem:
        return [("reply", None)]
    found = []
    if phrase is None and EXACT and status is not None:
        phrase = USUAL_PHRASES[status]
    if status is not None and reply.status != status:
        found.append(("status", None))
    if phrase is not None and reply.phrase != phrase:
        found.append(("phrase", None))
    if json is not UNSET and not matches(reply.json, json) or has is not UNSET and not matches(reply.json, has, False):
        found.append(("json", None))
    if page is not None and (reply.header("Content-type") != "text/html"
                             or "<p>%s</p>" % page not in reply.body.decode("latin-1")):
        found.append(("page", "Content-type: %s" % reply.header("Content-type")))
    if body is not None and reply.body != body:
        found.append(("body", repr(reply.body)))
    for name, value in (headers or {}).items():
        actual = reply.header(name)
        if actual != value and not (isinstance(value, re.Pattern) and actual and value.fullmatch(actual)):
            found.append((name, "%s: %s" % (name, actual)))
    if closes is not None:
        if ((reply.header("Connection") or "").lower() == "close") != closes:
            found.append(("closes", "Connection: %s" % reply.header("Connection")))
        elif closes and not reply.connection.is_at_end():
            found.append(("closes", "the connection stays open"))
        elif not closes and not answers_again(reply.connection):
            found.append(("closes", "the connection takes no further request"))
    return found


def expectation_text(status=None, json=UNSET, has=UNSET, phrase=None, headers=None, page=None, body=None, closes=None):
    """What expect() wants, for the reader of a failure."""
    first = [] if status is None else [str(status)]
    first += [phrase] if phrase else []
    first += [shown(json)] if json is not UNSET else []
    first += ["a body with " + shown(has)] if has is not UNSET else []
    first += ["an HTML page that says %r" % page] if page is not None else []
    first += [repr(body)] if body is not None else []
    lines = [" ".join(first)]
    lines += ["%s: %s" % (name, value.pattern if isinstance(value, re.Pattern) else value)
              for name, value in (headers or {}).items()]
    lines += [] if closes is None else ["Connection: close, and its end" if closes else "a connection that stays open"]
    return "\n".join(line for line in lines if line) or "a reply"


def answers_again(connection):
    """True when the connection takes one more request."""
    connection.send(head("GET /nothing-here HTTP/1.1", "Host: test").encode())
    return connection.reply().status == 404


def expect(reply, rule=None, grade="must", **expectation):
    """Compare a reply with what the rule says, and return it.

        status, phrase    the status line (without `phrase`, the usual one counts where bytes count)
        json              the whole body (see matches()); `has`: members that it has; `body`: its bytes
        headers           {name: value}: values of fields, None for one that must not be there
        page              the sentence of an HTML error page
        closes            True: says Connection: close and ends; False: stays open and answers again

    grade="exact": a case about bytes, skipped where only meaning counts; grade="open": what may vary, within bounds.
    """
    if grade == "exact" and not EXACT:
        pytest.skip("graded exact: set ARI_EXACT=1")
    found = differences(reply, **expectation)
    if found:
        actual = [str(reply)] + [text for _, text in found if text and text not in str(reply)]
        fail(reply.request, expectation_text(**expectation), "\n".join(actual), rule)
    return reply


# Fixtures: the server, what the contract promises, and a client per case.

class ServerUnderTest:
    """Where it listens, and who it says it is."""

    def __init__(self, url):
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port or 80
        self.root = parts.path.rstrip("/") or "/ari"
        if not self.root.endswith("/ari"):
            self.root += "/ari"
        try:
            reply = Client(self, "t").get("/asterisk/info")
        except OSError as error:
            pytest.exit("no server at %s: %s" % (url, error), 2)
        if reply.status != 200:
            pytest.exit("GET %s/asterisk/info as %s: %s" % (url, setting("ARI_AUTH").split(":")[0], reply), 2)
        self.name = "%s, version %s, at http://%s:%d%s" % (reply.header("Server"), reply.json["system"]["version"],
                                                         self.host, self.port, self.root)


class Report:
    """The last lines of a run: cases per chapter, and the server."""

    def __init__(self):
        self.server_name = "none was needed"
        self.counts = {}
        banner = re.compile(r"# (?:===|---) (.+?) (?:===|---)$")
        with open(__file__, encoding="utf-8") as source:
            found = [(number, banner.match(line.rstrip())) for number, line in enumerate(source)]
        self.chapters = [(number, match.group(1)) for number, match in found if match]

    def chapter_of(self, location):
        """The banner above a case."""
        index = bisect.bisect([number for number, _ in self.chapters], location[1]) - 1
        return self.chapters[index][1] if index >= 0 else ""

    def pytest_runtest_logreport(self, report):
        if os.path.basename(report.location[0]) != os.path.basename(__file__):
            return
        if report.when == "call" or report.outcome != "passed":
            counts = self.counts.setdefault(self.chapter_of(report.location), collections.Counter())
            counts[report.outcome] += 1

    def pytest_terminal_summary(self, terminalreporter):
        write = terminalreporter.write_line
        terminalreporter.section("chapters")
        titles = [title for _, title in self.chapters] + [""]
        width = max([len(chapter) for chapter in self.counts] or [0])
        for chapter, counts in sorted(self.counts.items(), key=lambda item: titles.index(item[0])):
            write("%-*s  %4d passed  %4d failed  %4d skipped" % (width, chapter, counts["passed"], counts["failed"],
                                                               counts["skipped"]))
        write("server: " + self.server_name)


REPORT = Report()
RUN = uuid.uuid4().hex[:5]
CASES = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def report(request):
    """Count the cases. A conftest.py would do, but this is one file."""
    request.config.pluginmanager.register(REPORT, "ari-report")
    yield REPORT


@pytest.fixture(autouse=True)
def current_case(request):
    """Tell fail() which case runs, and its rule."""
    CurrentCase.name = request.node.nodeid.split("::", 1)[-1]
    CurrentCase.rule = " ".join((request.function.__doc__ or "").split("\n\n")[0].split())


def module_server(folder, pretty):
    """The module itself with the configuration of the contract: a context manager with a url."""
    import ari_ref
    configuration = folder / "ari.conf"
    configuration.write_text(CONFIGURATION.format(pretty=pretty), encoding="utf-8")
    language = folder / "sounds" / "en"
    language.mkdir(parents=True)
    for name, seconds in SOUND_SECONDS.items():
        with wave.open(str(language / (name + ".wav")), "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(8000)
            sound.writeframes(b"\0\0" * int(8000 * seconds))
    return ari_ref.Server(ari_ref.read_config(str(configuration)), port=0, sounds=str(language.parent))


@pytest.fixture(scope="session")
def server(tmp_path_factory, report):
    """The server under test."""
    if IN_PROCESS:
        with module_server(tmp_path_factory.mktemp("ari"), "no") as module:
            under_test = ServerUnderTest(module.url)
            report.server_name = under_test.name
            yield under_test
    else:
        under_test = ServerUnderTest(os.environ["ARI_URL"])
        report.server_name = under_test.name
        yield under_test


@pytest.fixture(scope="session")
def pretty_server(tmp_path_factory):
    """A server with pretty = yes."""
    if IN_PROCESS:
        with module_server(tmp_path_factory.mktemp("ari-pretty"), "yes") as module:
            yield ServerUnderTest(module.url)
    elif "ARI_PRETTY_URL" in os.environ:
        yield ServerUnderTest(os.environ["ARI_PRETTY_URL"])
    else:
        pytest.skip("precondition missing: a second server with pretty = yes (ARI_PRETTY_URL)")


def client_of(server):
    """A client with a prefix of its own, swept when the case ends."""
    client = Client(server, "t%s-%d" % (RUN, next(CASES)))
    yield client
    client.sweep()


@pytest.fixture
def ari(server):
    """The client of this case."""
    yield from client_of(server)


@pytest.fixture
def pretty_ari(pretty_server):
    """The client of this case on the server with pretty = yes."""
    yield from client_of(pretty_server)


@pytest.fixture
def events(ari):
    """An event socket for the case's own application."""
    return ari.events()


def promised(server, name, what, is_there):
    """The value of the contract; skip when nobody promised it and a probe does not find it."""
    value = setting(name)
    if not IN_PROCESS and name not in os.environ and not is_there(Client(server, "t"), value):
        pytest.skip("precondition missing: %s (%s)" % (what, name))
    return value


@pytest.fixture(scope="session")
def read_only(server):
    """user:password of a read-only user."""
    return promised(server, "ARI_READ_ONLY_AUTH", "a read-only user",
                    lambda client, auth: client.get("/asterisk/ping", auth=auth).status == 200)


@pytest.fixture(scope="session")
def crypted(server):
    """user:password of a user with a crypt(3) hash."""
    return promised(server, "ARI_CRYPTED_AUTH", "a user with password_format = crypt",
                    lambda client, auth: client.get("/asterisk/ping", auth=auth).status == 200)


@pytest.fixture(scope="session")
def allowed_origin(server):
    """An origin of allowed_origins."""
    return promised(server, "ARI_ALLOWED_ORIGIN", "an allowed origin", lambda client, origin: client.get(
        "/asterisk/ping", headers={"Origin": origin}).header("Access-Control-Allow-Origin"))


@pytest.fixture(scope="session")
def refused_origin(server):
    """An origin that is not allowed."""
    return promised(server, "ARI_REFUSED_ORIGIN", "a refused origin", lambda client, origin: not client.get(
        "/asterisk/ping", headers={"Origin": origin}).header("Access-Control-Allow-Origin"))


@pytest.fixture(scope="session")
def sound(server):
    """The id of a sound of one second."""
    return promised(server, "ARI_SOUND", "a sound of one second",
                    lambda client, name: client.get("/sounds/" + quote(name, safe="")).status == 200)


@pytest.fixture(scope="session")
def long_sound(server):
    """The id of a sound of three seconds."""
    return promised(server, "ARI_LONG_SOUND", "a sound of three seconds",
                    lambda client, name: client.get("/sounds/" + quote(name, safe="")).status == 200)


@pytest.fixture(scope="session")
def departure():
    """For cases where ari_ref is stricter than Asterisk on purpose."""
    if not STRICT:
        pytest.skip("a departure from Asterisk: set ARI_STRICT=1")


@pytest.fixture(scope="session")
def compact(server):
    """For cases about the bytes of JSON: the server says it compactly."""
    if not EXACT:
        pytest.skip("graded exact: set ARI_EXACT=1")
    if b"\n" in Client(server, "t").get("/asterisk/ping").body:
        pytest.skip("precondition missing: pretty = no")


# --- HTTP: request line and header ---

# Tells what the server read of maxDurationSeconds: a value below zero is refused before the channel is looked for.
PROBE = "/channels/no-such-channel/record"
NEGATIVE = {"status": 400, "json": message("max_duration_seconds cannot be negative")}
NO_CHANNEL = NOT_NEGATIVE = {"status": 404, "json": message("Channel not found")}
UNPARSED = {"status": 400, "json": message("Error parsing request body")}
UNAUTHORIZED = {"status": 401, "json": message("Authentication required")}
NO_RESOURCE = {"status": 404, "json": message("Resource not found")}
NOT_HERE = {"status": 404, "page": "The requested URL was not found on this server."}
TOO_LARGE = {"status": 413, "json": message("Request body too large"), "closes": True}
BAD_LENGTH = {"status": 400, "page": "Invalid Content-Length in request!", "closes": True}
SLASH = "ARI URLs do not end with a slash. Try /ari%s"


class TestRequestLine:
    @rows("line",
          ("as RFC 9112 has it", "GET {path} HTTP/1.1"),
          ("method in small letters", "get {path} HTTP/1.1"),
          ("without a version", "GET {path}"),
          ("HTTP/1.0", "GET {path} HTTP/1.0"),
          ("an unknown version and more words", "GET {path} HTTP/9.9 and more words"),
          ("blanks before and between", "  GET   {path}   HTTP/1.1"),
          ("tabs instead of blanks", "GET\t{path}\tHTTP/1.1"))
    def test_is_understood(self, ari, line):
        """Method and target end at blanks; the rest is not looked at (http.c, httpd_process_request)."""
        reply = ari.raw(head(line.format(path=ari.ping), ari.authorization))
        expect(reply, status=200, has={"ping": "pong"}, closes=False)
        assert reply.version == "HTTP/1.1"

    def test_may_end_with_a_bare_line_feed(self, ari):
        """LF ends a line as CR LF does (http.c, httpd_process_request)."""
        expect(ari.raw("GET %s HTTP/1.1\n%s\n\n" % (ari.ping, ari.authorization)), status=200)

    def test_needs_no_host(self, ari):
        """A request without Host is answered (http.c, httpd_process_request)."""
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization)), status=200)

    @rows("line",
          ("method alone", "GET"),
          ("method and a blank", "GET "),
          ("empty line", ""),
          ("blanks alone", "   "))
    def test_without_a_target_is_refused(self, ari, line):
        """No second word: HTML 400 at once, before any header is read (http.c, httpd_process_request)."""
        expect(ari.raw(line + "\r\n"), status=400, page="Invalid Request", closes=True)

    @rows("target",
          ("method and target grown together", None),
          ("absolute URL", "http://localhost{path}"),
          ("without its first slash", "{bare}"),
          ("asterisk", "*"),
          ("escaped letter in ari", "/%61ri/asterisk/ping"),
          ("escaped slash after ari", "/ari%2Fasterisk/ping"),
          ("doubled first slash", "/{path}"),
          ("longer first segment", "/arix/asterisk/ping"),
          ("root of the server", "/"))
    def test_with_a_target_outside_ari_is_not_found(self, ari, target):
        """What does not start with /ari is HTML 404 (http.c, handle_uri)."""
        line = "GET" + ari.ping if target is None else "GET " + target.format(path=ari.ping, bare=ari.ping[1:])
        expect(ari.raw(head(line + " HTTP/1.1", ari.authorization)), closes=False, **NOT_HERE)

    @rows("method", ("POST", "POST"), ("OPTIONS", "OPTIONS"), ("HEAD", "HEAD"), ("an unknown method", "PATCH"))
    def test_outside_ari_is_not_found_for_any_method(self, ari, method):
        """Outside /ari neither method nor credentials matter (http.c, handle_uri)."""
        expect(ari.request(method, target="/nothing-here?x=y", auth=None), headers={"WWW-Authenticate": None,
               "Allow": None}, **NOT_HERE)

    @rows("line_end, fill", ("with CR LF", "\r\n", 1), ("with LF", "\n", 0))
    def test_may_have_4095_bytes(self, ari, line_end, fill):
        """4095 bytes with the line end are read (http.c, MAX_HTTP_LINE_LENGTH)."""
        line = "GET %s?x= HTTP/1.1" % ari.ping
        line = line.replace("x=", "x=" + "y" * (4094 - fill - len(line)))
        expect(ari.raw(line + line_end + head(ari.authorization)), status=200)

    @rows("length", ("by one byte", 4096), ("by far", 9000))
    def test_beyond_4095_bytes_is_refused(self, ari, length):
        """More is HTML 400 and the end of the connection, before headers are read (http.c, httpd_process_request)."""
        line = "GET %s?x= HTTP/1.1" % ari.ping
        expect(ari.raw(head(line.replace("x=", "x=" + "y" * (length - 2 - len(line))))), status=400,
               page="Request line too long", closes=True)

    @rows("text", ("nothing at all was sent but a word", "GET"), ("the target has begun", "GET /ari/asterisk"))
    def test_that_ends_with_the_connection_is_a_timeout(self, ari, text):
        """End of the stream inside the line is told as silence is: HTML 400 Timeout (http.c, httpd_process_request)."""
        expect(ari.raw(text, half_close=True), status=400, page="Timeout", closes=True)


class TestHeaderLines:
    @rows("lines",
          ("name in odd case, blanks around the value", "aUTHORIZATION:   {basic}   \r\n\r\n"),
          ("blank before the colon", "Authorization :{basic}\r\n\r\n"),
          ("no blank after the colon", "Authorization:{basic}\r\n\r\n"),
          ("ended by LF alone", "Authorization: {basic}\n\n"),
          ("head ended by a line of blanks", "Authorization: {basic}\r\n \t \r\n"),
          ("lines without colon, name or value before it",
           "garbage\r\n: value\r\nEmpty:\r\nAuthorization: {basic}\r\n\r\n"),
          ("another field that is folded", "Authorization: {basic}\r\nX-Folded: one\r\n two\r\n\tthree: four\r\n\r\n"))
    def test_are_understood(self, ari, lines):
        """Name before the first colon, value trimmed, other lines skipped (http.c, http_request_headers_get)."""
        lines = lines.replace("{basic}", basic(setting("ARI_AUTH")))
        expect(ari.raw("GET %s HTTP/1.1\r\n%s" % (ari.ping, lines)), status=200, closes=False)

    @rows("lines",
          ("a blank before the name", " Authorization: {basic}\r\n\r\n"),
          ("a value folded to the next line", "Authorization: Basic\r\n {token}\r\n\r\n"))
    def test_do_not_hold_credentials_with(self, ari, lines):
        """A leading blank belongs to the name, and there is no folding (http.c, http_request_headers_get)."""
        value = basic(setting("ARI_AUTH"))
        lines = lines.replace("{basic}", value).replace("{token}", value.split()[1])
        expect(ari.raw("GET %s HTTP/1.1\r\n%s" % (ari.ping, lines)), **UNAUTHORIZED)

    def test_may_be_100_fields(self, ari):
        """100 fields are read (http.c, MAX_HTTP_REQUEST_HEADERS)."""
        fields = ["X-%d: v" % number for number in range(99)]
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization, *fields)), status=200)

    @rows("outside", ("a resource of ARI", False), ("a target outside ARI", True))
    def test_beyond_100_fields_are_refused_for(self, ari, outside):
        """The 101st field is HTML 413 and the end, whatever was asked for (http.c, httpd_process_request)."""
        fields = ["X-%d: v" % number for number in range(101)]
        expect(ari.raw(head("GET %s HTTP/1.1" % ("/nothing" if outside else ari.ping), *fields)), status=413,
               page="Too many headers", closes=True)

    def test_that_are_no_fields_do_not_count(self, ari):
        """Only name, colon and value make a field of the 100 (http.c, http_request_headers_get)."""
        lines = ["X-%d: v" % number for number in range(99)] + ["nothing", ": value", "Empty:"] * 3
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization, *lines)), status=200)

    def test_may_have_4095_bytes(self, ari):
        """4095 bytes with CR LF are read (http.c, MAX_HTTP_LINE_LENGTH)."""
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization, "X-Long: " + "z" * 4085)), status=200)

    @rows("length", ("by one byte", 4086), ("by far", 6000))
    def test_beyond_4095_bytes_are_refused(self, ari, length):
        """A longer header line is HTML 400 and the end of the connection (http.c, http_request_headers_get)."""
        expect(ari.raw("GET %s HTTP/1.1\r\nX-Long: %s\r\n" % (ari.ping, "z" * length)), status=400,
               page="Header line too long", closes=True)

    def test_that_end_with_the_connection_are_a_timeout(self, ari):
        """End of the stream inside the head is HTML 400 Timeout (http.c, http_request_headers_get)."""
        expect(ari.raw("GET %s HTTP/1.1\r\nHost: x" % ari.ping, half_close=True), status=400, page="Timeout",
               closes=True)


class TestTransferEncoding:
    @rows("value", ("identity", "identity"), ("Identity", "Identity"))
    def test_that_changes_nothing_is_taken(self, ari, value):
        """`identity` is as no Transfer-Encoding (http.c, get_transfer_encoding); ari_ref refuses it: a departure."""
        if STRICT:
            pytest.skip("a departure: refused by ari_ref, see TestAmbiguousFraming")
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization, "Transfer-Encoding: " + value)),
               status=200, closes=False)

    @rows("target, value",
          ("gzip", "PING", "gzip"), ("a list", "PING", "gzip, chunked"), ("outside ARI", "/nothing", "deflate"))
    def test_that_is_not_known_is_501(self, ari, target, value):
        """Another coding is HTML 501, before credentials and target are looked at (http.c, httpd_process_request)."""
        target = target.replace("PING", ari.ping)
        expect(ari.raw(head("GET %s HTTP/1.1" % target, "Transfer-Encoding: " + value)), status=501,
               phrase="Unimplemented", page="Unsupported Transfer-Encoding.", closes=True)

    def test_is_looked_at_before_the_length(self, ari):
        """An unknown coding is told before a bad Content-Length (http.c, httpd_process_request)."""
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, "Transfer-Encoding: x", "Content-Length: bad")), status=501,
               phrase="Unimplemented", closes=True)


class TestContentLength:
    @rows("target, value",
          ("letters", "PING", "abc"), ("below zero", "PING", "-5"), ("above 31 bits", "PING", "2147483648"),
          ("letters, outside ARI", "/nothing", "abc"))
    def test_that_is_no_number_is_refused(self, ari, target, value):
        """No digits, or a negative number of 32 bits: HTML 400 before credentials (http.c, get_content_length)."""
        expect(ari.raw(head("GET %s HTTP/1.1" % target.replace("PING", ari.ping), "Content-Length: " + value)),
               **BAD_LENGTH)

    def test_may_have_leading_zeros(self, ari):
        """025 is 25 (http.c, get_content_length)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: application/json",
                            "Content-Length: 025") + '{"maxDurationSeconds":-1}'), **NEGATIVE)

    @rows("target, content_type, expected",
          ("another type than form and JSON", "PING", "text/plain", {"status": 200}),
          ("no type", "PING", None, {"status": 200}),
          ("a target outside ARI", "/nothing", "application/json", NOT_HERE))
    def test_of_a_body_that_nobody_reads_is_skipped(self, ari, target, content_type, expected):
        """A body of no use is thrown away and the connection goes on after it (http.c, ast_http_body_discard)."""
        fields = ["Content-Type: " + content_type] if content_type else []
        request = head("GET %s HTTP/1.1" % target.replace("PING", ari.ping), ari.authorization, "Content-Length: 10",
                       *fields)
        expect(ari.raw(request + "0123456789"), closes=False, **expected)


class TestAmbiguousFraming:
    @rows("fields",
          ("a plus sign", ["Content-Length: +2"]),
          ("text after the number", ["Content-Length: 2abc"]),
          ("a list of equal numbers", ["Content-Length: 2, 2"]),
          ("minus zero", ["Content-Length: -0"]),
          ("a hexadecimal number", ["Content-Length: 0x2"]),
          ("nothing", ["Content-Length: "]),
          ("a number beyond 32 bits", ["Content-Length: 4294967298"]),
          ("two equal fields", ["Content-Length: 2", "Content-Length: 2"]),
          ("two fields that differ", ["Content-Length: 2", "Content-Length: 3"]),
          ("chunked as well", ["Transfer-Encoding: chunked", "Content-Length: 2"]),
          ("identity as well", ["Transfer-Encoding: identity", "Content-Length: 2"]),
          ("a blank before the colon", ["Content-Length : 2"]),
          ("a blank before the name", ["X-A: b", " Content-Length: 2"]),
          ("a folded value", ["Content-Length: 2", " 5"]),
          ("an empty Transfer-Encoding", ["Transfer-Encoding:"]))
    def test_of_the_length_is_refused(self, departure, ari, fields):
        """A length that two readers could read differently is refused (RFC 9112 6.3); Asterisk takes it."""
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization, *fields) + "{}"), **BAD_LENGTH)

    def test_of_two_codings_is_501(self, departure, ari):
        """Several Transfer-Encoding fields are one unknown coding (RFC 9112 6.1); Asterisk takes the first."""
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, "Transfer-Encoding: identity", "Transfer-Encoding: x")),
               status=501, phrase="Unimplemented", page="Unsupported Transfer-Encoding.", closes=True)

    @rows("size", ("without digits", ";x"), ("beyond 32 bits", "100000002"))
    def test_of_a_chunk_size_is_refused(self, departure, ari, size):
        """A chunk size is 1*HEXDIG up to 2^31-1 (RFC 9112 7.1); Asterisk cuts or skips it."""
        fields = (ari.authorization, "Content-Type: application/json", "Transfer-Encoding: chunked")
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), *fields) + size + "\r\n{}\r\n0\r\n\r\n"),
               closes=True, **UNPARSED)

    @rows("line, field", ("in a field", "GET PING HTTP/1.1", "X-A: b\0c"),
          ("in the target", "GET PING\0x HTTP/1.1", "X-A: b"))
    def test_by_a_nul_is_refused(self, departure, ari, line, field):
        """A NUL in the head is HTML 400 before anything else (RFC 9110 5.5); Asterisk cuts the line there."""
        expect(ari.raw(head(line.replace("PING", ari.ping), ari.authorization, field)), status=400,
               page="Invalid Request", closes=True)


# --- HTTP: connections and answers ---

class TestConnection:
    @rows("line, fields, expected",
          ("a success", "GET PING HTTP/1.1", ["AUTH"], {"status": 200}),
          ("HTTP/1.0", "GET PING HTTP/1.0", ["AUTH"], {"status": 200}),
          ("Connection: keep-alive", "GET PING HTTP/1.1", ["AUTH", "Connection: Keep-Alive"], {"status": 200}),
          ("close among others in one field", "GET PING HTTP/1.1", ["AUTH", "Connection: close, TE"], {"status": 200}),
          ("close in a second field", "GET PING HTTP/1.1", ["AUTH", "Connection: keep-alive", "Connection: close"],
           {"status": 200}),
          ("missing credentials", "GET PING HTTP/1.1", [], UNAUTHORIZED),
          ("an unknown resource", "GET ARI/nothing HTTP/1.1", ["AUTH"], NO_RESOURCE),
          ("an unknown method", "PATCH PING HTTP/1.1", ["AUTH"], {"status": 405, "json": message("Invalid method")}),
          ("a target outside ARI", "GET /nothing HTTP/1.1", [], NOT_HERE))
    def test_stays_open_after(self, ari, line, fields, expected):
        """Only a first Connection field that is exactly close ends it (http.c, httpd_process_request)."""
        line = line.replace("PING", ari.ping).replace("ARI", ari.path(""))
        expect(ari.raw(head(line, *[field.replace("AUTH", ari.authorization) for field in fields])), closes=False,
               **expected)

    @rows("body", ("too short", '{"a":'), ("wrong", "{'a':1}"))
    def test_stays_open_after_a_bad_json_body_that_is(self, ari, body):
        """A body that was read but is no JSON is 400, and the connection goes on (res_ari.c, ast_ari_callback)."""
        expect(ari.post("/bridges", body=body, headers={"Content-Type": "application/json"}), closes=False, **UNPARSED)

    @rows("line, fields, expected",
          ("a success", "GET PING HTTP/1.1", ["AUTH", "Connection: close"], {"status": 200}),
          ("a success, in capitals", "GET PING HTTP/1.1", ["AUTH", "connection: CLOSE"], {"status": 200}),
          ("a first of two fields", "GET PING HTTP/1.1", ["AUTH", "Connection: close", "Connection: keep-alive"],
           {"status": 200}),
          ("missing credentials", "GET PING HTTP/1.1", ["Connection: close"], UNAUTHORIZED),
          ("an unknown resource", "GET ARI/nothing HTTP/1.1", ["AUTH", "Connection: close"], NO_RESOURCE),
          ("a target outside ARI", "GET /nothing HTTP/1.1", ["Connection: close"], NOT_HERE))
    def test_ends_when_asked_to_with(self, ari, line, fields, expected):
        """Connection: close is answered in kind, and the connection ends (http.c, ast_http_send)."""
        line = line.replace("PING", ari.ping).replace("ARI", ari.path(""))
        expect(ari.raw(head(line, *[field.replace("AUTH", ari.authorization) for field in fields])), closes=True,
               **expected)

    def test_answers_requests_sent_together_in_order(self, ari):
        """Pipelined requests act and are answered one after the other (RFC 9112 9.3.2)."""
        device = ari.path("/deviceStates/Stasis:" + ari.id("pipe"))
        lines = "PUT %s?deviceState=BUSY", "GET %s", "DELETE %s", "GET %s"
        connection = ari.connect()
        connection.send("".join(head((line % device) + " HTTP/1.1", ari.authorization) for line in lines).encode())
        for status, state in ((204, UNSET), (200, {"state": "BUSY"}), (204, UNSET), (200, {"state": "UNKNOWN"})):
            expect(connection.reply("4 requests at once: " + ", ".join(lines)), status=status, has=state)

    def test_drops_what_follows_a_closing_answer(self, ari):
        """After Connection: close later requests are not answered (http.c, httpd_helper_thread)."""
        again = head("GET %s HTTP/1.1" % ari.ping, ari.authorization)
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization, "Connection: close") + again), status=200,
               closes=True)

    def test_goes_on_right_after_a_body_that_was_read(self, ari):
        """The next request starts at the byte after the body (http.c, http_body_read_contents)."""
        first = head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: application/json",
                     "Content-Length: 25") + '{"maxDurationSeconds":-1}'
        reply = ari.raw(first + head("GET %s HTTP/1.1" % ari.ping, ari.authorization))
        expect(reply, **NEGATIVE)
        expect(reply.connection.reply("the second request of a pair"), status=200)

    def test_takes_a_line_end_after_a_body_for_a_request(self, ari):
        """CR LF after a body is the next, empty, request line: HTML 400 (http.c, httpd_process_request)."""
        first = head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: application/json",
                     "Content-Length: 25") + '{"maxDurationSeconds":-1}\r\n'
        reply = ari.raw(first)
        expect(reply, **NEGATIVE)
        expect(reply.connection.reply("CR LF after the body"), status=400, page="Invalid Request", closes=True)

    def test_that_is_half_closed_after_a_request_gets_its_answer(self, ari):
        """End of the stream after a whole request does not matter to it (http.c, httpd_process_request)."""
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization), half_close=True), status=200)

    def test_that_is_half_closed_inside_a_body_gets_400(self, ari):
        """A body that does not come is 400 and the end of the connection (http.c, http_body_read_contents)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: application/json",
                            "Content-Length: 25") + '{"max', half_close=True), closes=True, **UNPARSED)


class TestAnswer:
    @rows("asked, expected, fields",
          ("a success", ("GET", "/asterisk/ping"), {"status": 200}, {"Content-type": "application/json"}),
          ("no content", ("DELETE", "/deviceStates/Stasis:none"), {"status": 204, "body": b""}, {"Content-Length": "0",
           "Content-type": None}),
          ("an unknown resource", ("GET", "/nothing"), NO_RESOURCE, {"Content-type": "application/json"}),
          ("an unknown method", ("HEAD", "/channels"), {"status": 405, "json": message("Invalid method")},
           {"Content-type": "application/json", "Allow": "OPTIONS,GET,POST"}))
    def test_says_who_when_and_that_it_is_not_to_be_kept(self, ari, asked, expected, fields):
        """Server, Date and Cache-Control are on every answer; a type only with a body (http.c, ast_http_send)."""
        date = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
        fields = dict(fields, Date=date, Server=re.compile(r"\S.*"), **{"Cache-Control": "no-cache, no-store"})
        expect(ari.request(*asked), headers=fields, **expected)

    @rows("path, auth, expected",
          ("405", "/channels", UNSET, {"status": 405, "json": message("Invalid method")}),
          ("404", "/nothing", UNSET, NO_RESOURCE),
          ("401", "/channels", None, UNAUTHORIZED))
    def test_to_head_carries_the_body_of_the_error(self, ari, path, auth, expected):
        """Errors have their body for HEAD too, and no resource has HEAD (http.c, ast_http_send)."""
        expect(ari.request("HEAD", path, auth=auth), closes=False, **expected)

    @rows("asked, names",
          ("a success", ("GET", "/asterisk/ping"), "Server Date Cache-Control Content-type Content-Length"),
          ("no content", ("DELETE", "/deviceStates/Stasis:none"), "Server Date Cache-Control Content-Length"),
          ("an unknown method", ("PATCH", "/channels"), "Server Date Cache-Control Allow Content-type Content-Length"),
          ("options", ("OPTIONS", "/channels"), "Server Date Cache-Control Allow Content-Length"))
    def test_has_its_fields_in_order(self, ari, asked, names):
        """Names in this case and order (http.c, ast_http_send)."""
        reply = expect(ari.request(*asked), grade="exact")
        if [name for name, _ in reply.headers] != names.split():
            fail(reply.request, names, " ".join(name for name, _ in reply.headers))

    def test_that_refuses_credentials_has_its_fields_in_order(self, ari, allowed_origin):
        """The challenge comes after the CORS fields and before the type (http.c, ast_http_send)."""
        names = ("Server Date Connection Cache-Control Access-Control-Allow-Origin Access-Control-Allow-Credentials "
                 "WWW-Authenticate Content-type Content-Length")
        reply = expect(ari.get("/channels", auth=None, headers=[("Origin", allowed_origin), ("Connection", "close")]),
                       grade="exact", **UNAUTHORIZED)
        if [name for name, _ in reply.headers] != names.split():
            fail(reply.request, names, " ".join(name for name, _ in reply.headers))

    def test_that_is_an_error_page_has_these_bytes(self, ari):
        """The page of an error outside ARI (http.c, ast_http_create_response)."""
        reply = expect(ari.request("GET", target="/nothing-here"), grade="exact", status=404)
        lines = ('<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">', "<html><head>", "<title>404 Not Found</title>",
                 "</head><body>", "<h1>Not Found</h1>", "<p>The requested URL was not found on this server.</p>",
                 "<hr />", "<address>%s</address>" % reply.header("Server"), "</body></html>", "")
        expect(reply, body="\r\n".join(lines).encode())


class TestOrderOfChecks:
    @rows("asked, expected",
          ("a bad body before missing credentials",
           dict(method="POST", path="/nothing", body="{", auth=None), UNPARSED),
          ("a bad body before wrong credentials",
           dict(method="POST", path="/nothing", body="{", auth="nobody:wrong"), UNPARSED),
          ("a bad body before a trailing slash", dict(method="POST", path="/nothing/", body="{"), UNPARSED),
          ("a bad body before an unknown resource", dict(method="POST", path="/nothing", body="{"), UNPARSED),
          ("a bad body before OPTIONS", dict(method="OPTIONS", path="/channels", body="["), UNPARSED),
          ("a bad body before the API description", dict(method="POST", path="/api-docs/x", body="{"), UNPARSED),
          ("credentials before a trailing slash", dict(method="GET", path="/channels/", auth="nobody:x"), UNAUTHORIZED),
          ("credentials before an unknown resource", dict(method="GET", path="/nothing", auth=None), UNAUTHORIZED),
          ("credentials before an unknown method", dict(method="PATCH", path="/channels", auth=None), UNAUTHORIZED),
          ("credentials before OPTIONS", dict(method="OPTIONS", path="/channels", auth=None), UNAUTHORIZED),
          ("credentials before the API description", dict(method="GET", path="/api-docs/x", auth=None), UNAUTHORIZED),
          ("credentials on the root", dict(method="GET", path="", auth=None), UNAUTHORIZED),
          ("a trailing slash before the API description", dict(method="POST", path="/api-docs/x/"),
           {"status": 404, "json": message(SLASH % "/api-docs/x")}),
          ("a trailing slash before an unknown resource", dict(method="GET", path="/nothing/"),
           {"status": 404, "json": message(SLASH % "/nothing")}),
          ("a trailing slash before OPTIONS", dict(method="OPTIONS", path="/channels/"),
           {"status": 404, "json": message(SLASH % "/channels")}),
          ("an unknown resource before OPTIONS", dict(method="OPTIONS", path="/nothing"), NO_RESOURCE),
          ("an unknown resource before an unknown method", dict(method="PATCH", path="/nothing"), NO_RESOURCE),
          ("an unknown method before the channel", dict(method="GET", path="/channels/none/play"),
           {"status": 405, "json": message("Invalid method")}))
    def test_refuses(self, ari, asked, expected):
        """Body, credentials, slash, API description, resource, OPTIONS, method (res_ari.c, ast_ari_callback)."""
        if "body" in asked:
            asked = dict(asked, headers={"Content-Type": "application/json"})
        expect(ari.request(**asked), **expected)

    @rows("asked, expected",
          ("writing before an unknown resource", ("POST", "/nothing"), None),
          ("writing before a trailing slash", ("POST", "/nothing/"), None),
          ("writing before an unknown method", ("POST", "/endpoints"), None),
          ("writing before the API description", ("POST", "/api-docs/none.json"), None),
          ("HEAD", ("HEAD", "/channels"), None),
          ("PATCH", ("PATCH", "/channels"), None),
          ("TRACE of an unknown resource", ("TRACE", "/nothing"), None),
          ("PUT", ("PUT", "/deviceStates/Stasis:none"), None),
          ("DELETE", ("DELETE", "/channels/none"), None),
          ("a user event", ("POST", "/events/user/x"), None),
          ("the event socket with POST", ("POST", "/events"), None))
    def test_refuses_a_reader(self, ari, read_only, asked, expected):
        """A read_only user has GET and OPTIONS; 403 comes before 404 and 405 (res_ari.c, ast_ari_callback)."""
        expect(ari.request(*asked, auth=read_only), status=403, json=message("Write access denied"))

    @rows("asked, expected",
          ("GET", dict(method="GET", path="/asterisk/ping"), {"status": 200}),
          ("OPTIONS", dict(method="OPTIONS", path="/channels"), {"status": 204}),
          ("GET of an unknown resource", dict(method="GET", path="/nothing"), NO_RESOURCE),
          ("GET where there is only POST", dict(method="GET", path="/channels/x/play"),
           {"status": 405, "headers": {"Allow": "OPTIONS,POST"}}),
          ("POST outside ARI", dict(method="POST", target="/nothing"), NOT_HERE),
          ("GET of the event socket", dict(method="GET", path="/events"), {"status": 426, "page": ""}),
          ("a bad body first", dict(method="POST", path="/bridges", body="{",
           headers={"Content-Type": "application/json"}), UNPARSED))
    def test_answers_a_reader(self, ari, read_only, asked, expected):
        """What a read_only user gets answered like anybody (res_ari.c, ast_ari_callback)."""
        expect(ari.request(auth=read_only, **asked), **expected)


# --- HTTP: paths and resources ---

DEVICE = "/deviceStates/"       # GET answers with the name that it understood


class TestPath:
    @rows("written, understood",
          ("%3A is a colon", "Stasis%3Aa", "Stasis:a"),
          ("plus is a blank, %2B is a plus", "a+b%2Bc", "a b+c"),
          ("%2F is a slash inside the segment", "a%2Fb", "a/b"),
          ("%2f in small letters too", "a%2fb", "a/b"),
          ("controls", "a%20b%09c", "a b\tc"),
          ("UTF-8, escaped", "caf%C3%A9", "caf\u00e9"),
          ("UTF-8 as it is", "caf\u00e9", "caf\u00e9"),
          ("quote, backslash, newline, DEL", "%22%5C%0A%7F", "\"\\\n\x7f"),
          ("decoded once", "%253A", "%3A"),
          ("no escape: %zz stays", "a%zzb", "a%zzb"),
          ("no escape: % at the end stays", "a%", "a%"),
          ("no escape: one digit at the end stays", "a%4", "a%4"),
          ("one digit and a letter: both go", "a%1gb", "a\x01b"),
          ("% before an escape stays", "%%41", "%A"),
          ("a question mark, escaped", "a%3Fb", "a?b"),
          ("%00 ends the segment", "a%00b", "a"))
    def test_segment_is_decoded(self, ari, written, understood):
        """Segments are split at slashes first and decoded one by one (utils.c, ast_uri_decode)."""
        expect(ari.get(DEVICE + written), status=200, has={"name": understood})

    @rows("target, expected",
          ("of ari does not matter", "/ARI/asterisk/ping", {"status": 200}),
          ("of a fixed segment matters", "/ari/ASTERISK/ping", NO_RESOURCE),
          ("of a fixed segment, escaped letter", "/ari/%61sterisk/ping", {"status": 200}))
    def test_case(self, ari, target, expected):
        """/ari in any case, all else exact after decoding (http.c, handle_uri; res_ari.c, ast_ari_invoke)."""
        expect(ari.request("GET", target=ari.server.root[:-4] + target), **expected)

    @rows("path, tried",
          ("a resource", "/asterisk/ping/", "/asterisk/ping"),
          ("a resource, with a query", "/channels/?x=1", "/channels"),
          ("an unknown one", "/nothing/", "/nothing"),
          ("an empty segment", "//", "/"),
          ("an empty segment inside", "/channels//c1/", "/channels//c1"),
          ("written as escapes", "/x%20y/", "/x%20y"))
    def test_with_a_trailing_slash_is_refused(self, ari, path, tried):
        """A last slash is 404 and says the raw path without it (res_ari.c, remove_trailing_slash)."""
        expect(ari.get(path), status=404, json=message(SLASH % tried))

    @rows("path, expected",
          ("an escaped slash is none", "/channels%2F", NO_RESOURCE),
          ("an escaped slash is a channel's id", "/channels/%2F", NO_CHANNEL),
          ("an id of one NUL is empty", "/channels/%00", NO_CHANNEL))
    def test_that_only_looks_like_a_trailing_slash(self, ari, path, expected):
        """The slash is looked for in the raw path (res_ari.c, ast_ari_callback)."""
        expect(ari.get(path), **expected)

    @rows("path, same_as",
          ("in a collection", "/deviceStates//x", "/deviceStates"),
          ("below asterisk", "/asterisk/logging//x", "/asterisk/logging"),
          ("at the start", "//channels", ""))
    def test_ends_at_an_empty_segment(self, ari, path, same_as):
        """The walk along the path stops at the first empty segment (res_ari.c, ast_ari_invoke)."""
        allow = expect(ari.options(same_as), status=204).header("Allow")
        expect(ari.options(path), status=204, headers={"Allow": allow})

    @rows("method, path, expected",
          ("create is no channel", "GET", "/channels/create", {"status": 405, "headers": {"Allow": "OPTIONS,POST"}}),
          ("nothing below create", "GET", "/channels/create/more", NO_RESOURCE),
          ("not even what a channel has", "GET", "/channels/create/play", NO_RESOURCE),
          ("externalMedia is no channel", "GET", "/channels/externalMedia",
           {"status": 405, "headers": {"Allow": "OPTIONS,POST"}}),
          ("but what is below it is one", "GET", "/channels/externalMedia/x",
           NO_CHANNEL),
          ("with all that a channel has", "OPTIONS", "/channels/externalMedia/x/record",
           {"status": 204, "headers": {"Allow": "OPTIONS,POST"}}),
          ("and nothing else", "GET", "/channels/externalMedia/x/zzz", NO_RESOURCE),
          ("sendMessage is no technology", "GET", "/endpoints/sendMessage",
           {"status": 405, "headers": {"Allow": "OPTIONS,PUT"}}),
          ("nothing below sendMessage", "GET", "/endpoints/sendMessage/x", NO_RESOURCE),
          ("live is no recording", "GET", "/recordings/x", NO_RESOURCE),
          ("nothing below a log channel but rotate", "GET", "/asterisk/logging/x/y", NO_RESOURCE),
          ("nothing below control", "GET", "/playbacks/p/control/x", NO_RESOURCE))
    def test_prefers_a_fixed_segment_to_a_wildcard(self, ari, method, path, expected):
        """Children are tried in declared order, a wildcard passed before is remembered (res_ari.c, ast_ari_invoke)."""
        expect(ari.request(method, path), **expected)


class TestTextThatIsNotUtf8:
    @rows("written",
          ("a stray byte", "%FF"), ("a character cut short", "%C3"), ("an overlong form", "%C0%80"),
          ("a surrogate", "%ED%A0%80"), ("above U+10FFFF", "%F4%90%80%80"))
    def test_can_not_be_shown(self, ari, written):
        """A reply that would have to quote it is 500 (res_ari.c, ast_ari_response_error; json.c)."""
        expect(ari.get(DEVICE + "Stasis:" + written), status=500, json=message("Error building response"))

    def test_in_a_path_with_a_trailing_slash_leaves_the_reply_empty(self, ari):
        """The message would quote the path: 404 without a type and a body (res_ari.c, remove_trailing_slash)."""
        expect(ari.raw(head("GET %s/x\xff/ HTTP/1.1" % ari.path(""), ari.authorization)), status=404, body=b"",
               headers={"Content-type": None, "Content-Length": "0"}, closes=False)

    @rows("path, expected",
          ("an escaped path is quoted as escapes", "/x%FF/", {"status": 404, "json": message(SLASH % "/x%FF")}),
          ("an unknown resource", "/x%FF", NO_RESOURCE),
          ("an unknown bridge", "/bridges/%FF", {"status": 404, "json": message("Bridge not found")}),
          ("a variable that is not set", "/asterisk/variable?variable=%FF", {"status": 200, "json": {"value": ""}}),
          ("a parameter that nobody uses", "/asterisk/ping?%FF=%FF", {"status": 200}))
    def test_is_harmless_where_it_is_only_looked_up(self, ari, path, expected):
        """What need not be shown is answered as ever (json.c)."""
        expect(ari.get(path), **expected)

    @rows("method, path",
          ("a bridge's name", "POST", "/bridges?bridgeId={id}&name=%FFx"),
          ("a bridge's id in the query", "POST", "/bridges?bridgeId={id}%C3"),
          ("a bridge's id in the path", "POST", "/bridges/{id}%E2%82"),
          ("a device's name", "PUT", "/deviceStates/Stasis:{id}%FF?deviceState=BUSY"),
          ("a global variable's value", "POST", "/asterisk/variable?variable={id}&value=%FF"),
          ("a channel's id", "POST", "/channels?endpoint=Local/1@none&app=none&channelId={id}%80"))
    def test_is_refused_where_it_would_be_kept(self, departure, ari, method, path):
        """Names and ids are UTF-8: else 400, and nothing changes; Asterisk keeps them and breaks lists with them."""
        expect(ari.request(method, path.format(id=ari.id("x"))), status=400, json=message("Invalid UTF-8"))


# The resources that have no operation of their own, with their Allow.
BARE = ("", "/asterisk", "/asterisk/config", "/asterisk/config/dynamic", "/asterisk/config/dynamic/{configClass}",
        "/asterisk/config/dynamic/{configClass}/{objectType}", "/events", "/events/user", "/playbacks", "/recordings",
        "/recordings/live")
# The 98 operations as the API description declares them: method, path, nickname, type of the reply, and the parameters
# that do not stand in the path.  name! is required, name[] may have several values, +name stands in the body, :type is
# not a string, =default, {allowed}.
OPERATIONS = """
GET /asterisk/config/dynamic/{configClass}/{objectType}/{id} getObject List[ConfigTuple]
PUT /asterisk/config/dynamic/{configClass}/{objectType}/{id} updateObject List[ConfigTuple]
    +fields:containers
DELETE /asterisk/config/dynamic/{configClass}/{objectType}/{id} deleteObject void
GET /asterisk/info getInfo AsteriskInfo only[]{build|system|config|status}
GET /asterisk/ping ping AsteriskPing
GET /asterisk/modules listModules List[Module]
GET /asterisk/modules/{moduleName} getModule Module
POST /asterisk/modules/{moduleName} loadModule void
DELETE /asterisk/modules/{moduleName} unloadModule void
PUT /asterisk/modules/{moduleName} reloadModule void
GET /asterisk/logging listLogChannels List[LogChannel]
POST /asterisk/logging/{logChannelName} addLog void configuration!
DELETE /asterisk/logging/{logChannelName} deleteLog void
PUT /asterisk/logging/{logChannelName}/rotate rotateLog void
GET /asterisk/variable getGlobalVar Variable variable!
POST /asterisk/variable setGlobalVar void variable! value
GET /endpoints list List[Endpoint]
PUT /endpoints/sendMessage sendMessage void to! from! body +variables:containers
GET /endpoints/{tech} listByTech List[Endpoint]
GET /endpoints/{tech}/{resource} get Endpoint
PUT /endpoints/{tech}/{resource}/sendMessage sendMessageToEndpoint void from! body +variables:containers
GET /channels list List[Channel]
POST /channels originate Channel endpoint! extension context priority:long label app appArgs callerId
    timeout:int=30 +variables:containers channelId otherChannelId originator formats
POST /channels/create create Channel endpoint! app! appArgs channelId otherChannelId originator formats
    +variables:containers
GET /channels/{channelId} get Channel
POST /channels/{channelId} originateWithId Channel endpoint! extension context priority:long label app
    appArgs callerId timeout:int=30 +variables:containers otherChannelId originator formats
DELETE /channels/{channelId} hangup void
    reason=normal{normal|busy|congestion|no_answer|timeout|rejected|unallocated|normal_unspecified|
        number_incomplete|codec_mismatch|interworking|failure|answered_elsewhere}
POST /channels/{channelId}/continue continueInDialplan void context extension priority:int label
POST /channels/{channelId}/move move void app! appArgs
POST /channels/{channelId}/redirect redirect void endpoint!
POST /channels/{channelId}/answer answer void
POST /channels/{channelId}/ring ring void
DELETE /channels/{channelId}/ring ringStop void
POST /channels/{channelId}/dtmf sendDTMF void dtmf before:int=0 between:int=100 duration:int=100 after:int=0
POST /channels/{channelId}/mute mute void direction=both{both|in|out}
DELETE /channels/{channelId}/mute unmute void direction=both{both|in|out}
POST /channels/{channelId}/hold hold void
DELETE /channels/{channelId}/hold unhold void
POST /channels/{channelId}/moh startMoh void mohClass
DELETE /channels/{channelId}/moh stopMoh void
POST /channels/{channelId}/silence startSilence void
DELETE /channels/{channelId}/silence stopSilence void
POST /channels/{channelId}/play play Playback media![] lang offsetms:int skipms:int=3000 playbackId
POST /channels/{channelId}/play/{playbackId} playWithId Playback media![] lang offsetms:int skipms:int=3000
POST /channels/{channelId}/record record LiveRecording name! format! maxDurationSeconds:int=0{0..}
    maxSilenceSeconds:int=0{0..} ifExists=fail{fail|overwrite|append} beep:boolean=false
    terminateOn=none{none|any|*|#}
GET /channels/{channelId}/variable getChannelVar Variable variable!
POST /channels/{channelId}/variable setChannelVar void variable! value
POST /channels/{channelId}/snoop snoopChannel Channel spy=none{none|both|out|in}
    whisper=none{none|both|out|in} app! appArgs snoopId
POST /channels/{channelId}/snoop/{snoopId} snoopChannelWithId Channel spy=none{none|both|out|in}
    whisper=none{none|both|out|in} app! appArgs
POST /channels/{channelId}/dial dial void caller timeout:int=0{0..}
GET /channels/{channelId}/rtp_statistics rtpstatistics RTPstat
POST /channels/externalMedia externalMedia Channel channelId app! +variables:containers external_host!
    encapsulation=rtp{rtp} transport=udp{udp} connection_type=client{client} format! direction=both{both}
GET /bridges list List[Bridge]
POST /bridges create Bridge type bridgeId name
POST /bridges/{bridgeId} createWithId Bridge type name
GET /bridges/{bridgeId} get Bridge
DELETE /bridges/{bridgeId} destroy void
POST /bridges/{bridgeId}/addChannel addChannel void channel![] role absorbDTMF:boolean=false
    mute:boolean=false
POST /bridges/{bridgeId}/removeChannel removeChannel void channel![]
POST /bridges/{bridgeId}/videoSource/{channelId} setVideoSource void
DELETE /bridges/{bridgeId}/videoSource clearVideoSource void
POST /bridges/{bridgeId}/moh startMoh void mohClass
DELETE /bridges/{bridgeId}/moh stopMoh void
POST /bridges/{bridgeId}/play play Playback media![] lang offsetms:int=0{0..} skipms:int=3000{0..}
    playbackId
POST /bridges/{bridgeId}/play/{playbackId} playWithId Playback media![] lang offsetms:int=0{0..}
    skipms:int=3000{0..}
POST /bridges/{bridgeId}/record record LiveRecording name! format! maxDurationSeconds:int=0{0..}
    maxSilenceSeconds:int=0{0..} ifExists=fail{fail|overwrite|append} beep:boolean=false
    terminateOn=none{none|any|*|#}
GET /recordings/stored listStored List[StoredRecording]
GET /recordings/stored/{recordingName} getStored StoredRecording
DELETE /recordings/stored/{recordingName} deleteStored void
GET /recordings/stored/{recordingName}/file getStoredFile binary
POST /recordings/stored/{recordingName}/copy copyStored StoredRecording destinationRecordingName!
GET /recordings/live/{recordingName} getLive LiveRecording
DELETE /recordings/live/{recordingName} cancel void
POST /recordings/live/{recordingName}/stop stop void
POST /recordings/live/{recordingName}/pause pause void
DELETE /recordings/live/{recordingName}/pause unpause void
POST /recordings/live/{recordingName}/mute mute void
DELETE /recordings/live/{recordingName}/mute unmute void
GET /sounds list List[Sound] lang format
GET /sounds/{soundId} get Sound
GET /playbacks/{playbackId} get Playback
DELETE /playbacks/{playbackId} stop void
POST /playbacks/{playbackId}/control control void operation!{restart|pause|unpause|reverse|forward}
GET /deviceStates list List[DeviceState]
GET /deviceStates/{deviceName} get DeviceState
PUT /deviceStates/{deviceName} update void
    deviceState!{NOT_INUSE|INUSE|BUSY|INVALID|UNAVAILABLE|RINGING|RINGINUSE|ONHOLD}
DELETE /deviceStates/{deviceName} delete void
GET /mailboxes list List[Mailbox]
GET /mailboxes/{mailboxName} get Mailbox
PUT /mailboxes/{mailboxName} update void oldMessages!:int newMessages!:int
DELETE /mailboxes/{mailboxName} delete void
GET /events eventWebsocket Message app![] subscribeAll:boolean
POST /events/user/{eventName} userEvent void application! source[] +variables:containers
GET /applications list List[Application]
GET /applications/{applicationName} get Application
POST /applications/{applicationName}/subscription subscribe Application eventSource![]
DELETE /applications/{applicationName}/subscription unsubscribe Application eventSource![]
PUT /applications/{applicationName}/eventFilter filter Application +filter:object
"""


class Operation(collections.namedtuple("Operation", "method path nickname reply parameters")):
    """One row of OPERATIONS."""

    @property
    def document(self):
        return self.path.split("/")[1] + ".json"


def parse_operations(text):
    """The rows of OPERATIONS."""
    text = re.sub(r"\|\s+", "|", text)
    logical = re.sub(r"\n +", " ", text).strip().splitlines()
    return [Operation(*words[:4], parameters=" ".join(words[4:])) for words in map(str.split, logical)]


OPERATION_ROWS = parse_operations(OPERATIONS)
METHODS_IN_ALLOW = ("GET", "POST", "HEAD", "PUT", "DELETE")


def methods_of(path):
    """The methods that a resource has, in the order of Allow; GET of the event socket is not one."""
    methods = {operation.method for operation in OPERATION_ROWS if operation.path == path and path != "/events"}
    return [method for method in METHODS_IN_ALLOW if method in methods]


RESOURCES = list(BARE) + [path for path in collections.OrderedDict.fromkeys(row.path for row in OPERATION_ROWS)
                          if path != "/events"]


def example(path):
    """A template with something in it."""
    return re.sub(r"\{\w+\}", "no-such", path)


class TestResource:
    @pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path or "/ari")
    def test_tells_its_methods(self, ari, path):
        """OPTIONS is 204 with OPTIONS first, then GET, POST, HEAD, PUT, DELETE (res_ari.c, handle_options)."""
        expect(ari.options(example(path)), status=204, body=b"",
               headers={"Allow": ",".join(["OPTIONS"] + methods_of(path))})

    @pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path or "/ari")
    def test_refuses_the_methods_that_it_has_not(self, ari, path):
        """405 with Allow for every other method, known or not (res_ari.c, ast_ari_invoke)."""
        allow = ",".join(["OPTIONS"] + methods_of(path))
        for method in METHODS_IN_ALLOW + ("PATCH", "TRACE", "CONNECT", "X"):
            if method not in methods_of(path) and (path, method) != ("/events", "GET"):
                expect(ari.request(method, example(path)), status=405, json=message("Invalid method"),
                       headers={"Allow": allow})

    @pytest.mark.parametrize("path", [path for path in RESOURCES if path])
    def test_does_not_end_with_a_slash(self, ari, path):
        """Any resource with a slash behind is 404 (res_ari.c, remove_trailing_slash)."""
        expect(ari.get(example(path) + "/"), status=404, json=message(SLASH % example(path)))


# --- HTTP: bodies ---

JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
NEGATIVE_JSON = '{"maxDurationSeconds":-1}'
NEGATIVE_FORM = "maxDurationSeconds=-1"


class TestContentType:
    @rows("fields, body",
          ("application/json", ["Content-Type: application/json"], NEGATIVE_JSON),
          ("in capitals", ["content-type: APPLICATION/JSON"], NEGATIVE_JSON),
          ("with a charset", ["Content-Type: application/json; charset=utf-8"], NEGATIVE_JSON),
          ("with a charset that is not used", ["Content-Type: application/json;charset=latin-1"], NEGATIVE_JSON),
          ("the first of two", ["Content-Type: application/json", "Content-Type: text/plain"], NEGATIVE_JSON),
          ("form", ["Content-Type: application/x-www-form-urlencoded"], NEGATIVE_FORM),
          ("form with a charset", ["Content-Type: Application/X-WWW-Form-URLencoded; charset=utf-8"], NEGATIVE_FORM))
    def test_makes_a_body_be_read(self, ari, fields, body):
        """JSON and form by the type before the semicolon, in any case (http.c, get_content_type)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Length: %d" % len(body),
                            *fields) + body), closes=False, **NEGATIVE)

    @rows("fields, body",
          ("absent", [], NEGATIVE_JSON),
          ("empty", ["Content-Type:"], NEGATIVE_JSON),
          ("only a charset", ["Content-Type: ;charset=utf-8"], NEGATIVE_JSON),
          ("a blank before the semicolon", ["Content-Type: application/json ;charset=utf-8"], NEGATIVE_JSON),
          ("text/json", ["Content-Type: text/json"], NEGATIVE_JSON),
          ("a type with +json", ["Content-Type: application/vnd.x+json"], NEGATIVE_JSON),
          ("a list", ["Content-Type: application/json, text/plain"], NEGATIVE_JSON),
          ("the second of two", ["Content-Type: text/plain", "Content-Type: application/json"], NEGATIVE_JSON),
          ("multipart", ["Content-Type: multipart/form-data"], NEGATIVE_FORM),
          ("form without a type", [], NEGATIVE_FORM),
          ("JSON sent as a form", ["Content-Type: application/x-www-form-urlencoded"], NEGATIVE_JSON))
    def test_otherwise_leaves_it_unread(self, ari, fields, body):
        """Any other type: the body is skipped without a word (http.c, get_content_type)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Length: %d" % len(body),
                            *fields) + body), closes=False, **NOT_NEGATIVE)

    def test_is_believed(self, ari):
        """A form that is sent as JSON is bad JSON (http.c, ast_http_get_json)."""
        expect(ari.post(PROBE, body=NEGATIVE_FORM, headers={"Content-Type": JSON_TYPE}), **UNPARSED)

    @rows("method, path, expected",
          ("GET", "GET", "/asterisk/variable", {"status": 200}),
          ("PUT", "PUT", "/deviceStates/x", {"status": 409}))
    def test_counts_for_any_method(self, ari, method, path, expected):
        """A body is read for every method, GET too (res_ari.c, ast_ari_callback)."""
        expect(ari.request(method, path, json={"variable": "EPOCH"}), **expected)


class TestBodySize:
    @rows("kind, body, expected",
          ("JSON of 40960 bytes is read", JSON_TYPE, " " * 40960, UNPARSED),
          ("form of 40960 bytes is read", FORM_TYPE, "x" * 40960, NOT_NEGATIVE),
          ("another type may be longer", "text/plain", "x" * 60000, NOT_NEGATIVE))
    def test_within_the_limit(self, ari, kind, body, expected):
        """40960 bytes are read, what nobody reads has no limit (http.c, MAX_CONTENT_LENGTH)."""
        expect(ari.post(PROBE, body=body, headers={"Content-Type": kind}), closes=False, **expected)

    @rows("path, kind, length, auth",
          ("JSON by one byte", PROBE, JSON_TYPE, 40961, UNSET),
          ("a form by one byte", PROBE, FORM_TYPE, 40961, UNSET),
          ("JSON by far", PROBE, JSON_TYPE, 2147483647, UNSET),
          ("JSON for an unknown resource, without credentials", "/nothing", JSON_TYPE, 40961, None))
    def test_beyond_the_limit_is_413(self, ari, path, kind, length, auth):
        """Content-Length alone decides, before credentials (http.c, ast_http_get_contents)."""
        fields = ["Content-Type: " + kind, "Content-Length: %d" % length] + [ari.authorization] * (auth is UNSET)
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(path), *fields)), **TOO_LARGE)

    def test_beyond_the_limit_in_chunks_is_413(self, ari):
        """The chunk size that takes the sum over the limit decides (http.c, http_body_get_chunk_length)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: " + JSON_TYPE,
                            "Transfer-Encoding: chunked") + '5\r\n{"a":\r\na000\r\n'), **TOO_LARGE)

    def test_outside_ari_has_no_limit(self, ari):
        """A body for a target outside ARI is skipped (http.c, ast_http_body_discard)."""
        expect(ari.request("POST", target="/nothing", body="x" * 60000, headers={"Content-Type": JSON_TYPE}),
               **NOT_HERE)


class TestChunkedBody:
    @rows("chunks",
          ("one chunk", "19\r\n%s\r\n0\r\n\r\n" % NEGATIVE_JSON),
          ("three chunks", '3\r\n{"m\r\n11\r\naxDurationSeconds\r\n5\r\n":-1}\r\n0\r\n\r\n'),
          ("extensions and trailers",
           '19;ext=1;b="c"\r\n%s\r\n0;last\r\nTrailer: x\r\nOther: y\r\n\r\n' % NEGATIVE_JSON),
          ("leading zeros", "0019\r\n%s\r\n000\r\n\r\n" % NEGATIVE_JSON))
    def test_is_put_together(self, ari, chunks):
        """Hexadecimal sizes, extensions and trailers as in RFC 9112 7.1 (http.c, http_body_get_chunk_length)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: " + JSON_TYPE,
                            "transfer-encoding: CHUNKED") + chunks), closes=False, **NEGATIVE)

    @rows("kind, chunks, expected",
          ("a form", FORM_TYPE, "15\r\n%s\r\n0\r\n\r\n" % NEGATIVE_FORM, NEGATIVE),
          ("no JSON at all", JSON_TYPE, "0\r\n\r\n", NOT_NEGATIVE),
          ("a type that nobody reads", "text/plain", "4\r\nwhat\r\n4\r\never\r\n0\r\n\r\n", NOT_NEGATIVE))
    def test_may_be(self, ari, kind, chunks, expected):
        """Chunks carry any body; only the last chunk is an empty one (http.c, http_body_read_contents)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: " + kind,
                            "Transfer-Encoding: chunked") + chunks), closes=False, **expected)

    @rows("chunks",
          ("a size ended by LF alone", "19\n%s\r\n0\r\n\r\n" % NEGATIVE_JSON),
          ("a blank after the size", "19 \r\n%s\r\n0\r\n\r\n" % NEGATIVE_JSON),
          ("a size that is no number", "zz\r\n%s\r\n0\r\n\r\n" % NEGATIVE_JSON),
          ("no size", "\r\n%s\r\n0\r\n\r\n" % NEGATIVE_JSON),
          ("a negative size", "-1\r\n%s\r\n0\r\n\r\n" % NEGATIVE_JSON),
          ("a size with a sign", "+19\r\n%s\r\n0\r\n\r\n" % NEGATIVE_JSON),
          ("a size with 0x", "0x19\r\n%s\r\n0\r\n\r\n" % NEGATIVE_JSON),
          ("a size that is too small", "18\r\n%s\r\n0\r\n\r\n" % NEGATIVE_JSON),
          ("data ended by LF alone", "19\r\n%s\n0\r\n\r\n\r\n" % NEGATIVE_JSON))
    def test_is_refused_with(self, ari, chunks):
        """A fault in the chunks is 400 and the end of the connection (http.c, http_body_get_chunk_length)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: " + JSON_TYPE,
                            "Transfer-Encoding: chunked") + chunks), closes=True, **UNPARSED)

    def test_is_refused_before_credentials(self, ari):
        """A bad chunk is told without credentials too (res_ari.c, ast_ari_callback)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), "Content-Type: " + JSON_TYPE,
                            "Transfer-Encoding: chunked") + "zz\r\n"), closes=True, **UNPARSED)

    @rows("target, expected", ("a resource", None, NOT_NEGATIVE), ("a target outside ARI", "/nothing", NOT_HERE))
    def test_with_a_fault_that_nobody_reads_ends_the_connection_after_the_answer_of(self, ari, target, expected):
        """The usual answer with Connection: close when a body can not be skipped (http.c, ast_http_body_discard)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % (target or ari.path(PROBE)), ari.authorization,
                            "Transfer-Encoding: chunked") + "zz\r\n"), closes=True, **expected)


class TestJsonBody:
    @rows("body",
          ("an object", "{}"), ("a list", "[]"), ("blanks around", " \r\n\t{} \n"), ("no body", ""),
          ("an exponent", '{"a":1e5}'), ("a surrogate pair", r'{"a":"\ud83d\ude00"}'),
          ("the largest integer", '{"a":9223372036854775807}'), ("the smallest", '{"a":-9223372036854775808}'))
    def test_may_be(self, ari, body):
        """An object or a list in strict JSON, or nothing (http.c, ast_http_get_json)."""
        expect(ari.post(PROBE, body=body, headers={"Content-Type": JSON_TYPE}), **NOT_NEGATIVE)

    @rows("body",
          ("blanks alone", " "), ("null", "null"), ("a text", '"text"'), ("a number", "17"), ("a boolean", "true"),
          ("a comma too many", '{"a":1,}'), ("text after it", '{"a":1} x'), ("a second value", '{"a":1}{}'),
          ("a NUL after it", "{}\0"), ("single quotes", "{'a':1}"), ("a bare name", "{a:1}"),
          ("a leading zero", '{"a":01}'), ("a plus sign", '{"a":+1}'), ("a point without digits", '{"a":1.}'),
          ("NaN", '{"a":NaN}'), ("Infinity", '{"a":Infinity}'),
          ("an integer beyond 64 bits", '{"a":9223372036854775808}'),
          ("a real that overflows", '{"a":1e400}'), ("a comment", "// c\n{}"), ("a control character", '{"a":"\t"}'),
          ("an escaped NUL", r'{"a":"\u0000"}'), ("an escaped NUL in a name", r'{"\u0000":1}'),
          ("half a surrogate pair", r'{"a":"\ud83d"}'), ("an unknown escape", r'{"a":"\x41"}'),
          ("a byte order mark", b"\xef\xbb\xbf{}"), ("a text that is not UTF-8", b'{"a":"\xff"}'),
          ("an overlong form", b'{"a":"\xc0\x80"}'), ("a surrogate in UTF-8", b'{"a":"\xed\xa0\x80"}'))
    def test_is_refused_as(self, ari, body):
        """What Jansson does not load, and what is neither object nor list, is 400 (http.c, ast_http_get_json)."""
        expect(ari.post(PROBE, body=body, headers={"Content-Type": JSON_TYPE}), **UNPARSED)


# --- HTTP: parameters ---

class TestParameters:
    @rows("query, expected",
          ("the last of equals counts: positive", "maxDurationSeconds=-1&maxDurationSeconds=1", NOT_NEGATIVE),
          ("the last of equals counts: negative", "maxDurationSeconds=1&maxDurationSeconds=-1", NEGATIVE),
          ("an empty last one counts", "maxDurationSeconds=-1&maxDurationSeconds=", NOT_NEGATIVE),
          ("a last one without equals sign counts", "maxDurationSeconds=-1&maxDurationSeconds", NOT_NEGATIVE),
          ("names are case-sensitive", "maxdurationseconds=-1", NOT_NEGATIVE),
          ("names are decoded", "max%44uration%53econds=-1", NEGATIVE),
          ("values are decoded", "maxDurationSeconds=%2D1", NEGATIVE),
          ("a blank before the name belongs to it", "+maxDurationSeconds=-1", NOT_NEGATIVE),
          ("empty pieces are harmless", "&&=&=x&?&maxDurationSeconds=-1&", NEGATIVE),
          ("a semicolon is no separator", "maxDurationSeconds=-1;x=y", NEGATIVE),
          ("a second question mark belongs to the name", "?maxDurationSeconds=-1", NOT_NEGATIVE),
          ("a hash is an ordinary character", "maxDurationSeconds=-1#x", NEGATIVE),
          ("a value goes on after a second equals sign", "x=maxDurationSeconds=-1", NOT_NEGATIVE),
          ("and may begin with one", "maxDurationSeconds==-1", NOT_NEGATIVE),
          ("%00 ends a value", "maxDurationSeconds=%00-1", NOT_NEGATIVE),
          ("%00 ends a name", "maxDurationSeconds%00x=-1", NEGATIVE))
    def test_of_the_query(self, ari, query, expected):
        """Split at &, then at the first =, then decoded (http.c, handle_uri)."""
        expect(ari.post(PROBE, query), **expected)

    @rows("query, name",
          ("plus and escapes", "name=one+two%20three%2Bfour%26five", "one two three+four&five"),
          ("an equals sign", "name=a=b=c", "a=b=c"),
          ("UTF-8", "name=caf%C3%A9", "caf\u00e9"),
          ("the last of three, empty", "name=1&name=2&name=", ""))
    def test_that_are_texts(self, ari, query, name):
        """A text is the decoded value (utils.c, ast_uri_decode)."""
        expect(ari.post("/bridges/" + ari.id("b"), query), status=200, has={"name": name})

    @rows("query, more, expected",
          ("query over form: negative", "maxDurationSeconds=-1", {"form": "maxDurationSeconds=1"}, NEGATIVE),
          ("query over form: positive", "maxDurationSeconds=1", {"form": "maxDurationSeconds=-1"}, NOT_NEGATIVE),
          ("form where the query says nothing", "x=y", {"form": "maxDurationSeconds=-1"}, NEGATIVE),
          ("JSON over query: positive", "maxDurationSeconds=-1", {"json": {"maxDurationSeconds": 1}}, NOT_NEGATIVE),
          ("JSON over query: negative", "maxDurationSeconds=1", {"json": {"maxDurationSeconds": -1}}, NEGATIVE),
          ("a JSON null over query", "maxDurationSeconds=-1", {"json": {"maxDurationSeconds": None}}, NOT_NEGATIVE),
          ("a JSON text over query", "maxDurationSeconds=-1", {"json": {"maxDurationSeconds": "x"}}, NOT_NEGATIVE),
          ("query where JSON says nothing", "maxDurationSeconds=-1", {"json": {"other": 1}}, NEGATIVE),
          ("query with an empty object", "maxDurationSeconds=-1", {"json": {}}, NEGATIVE),
          ("query with a list", "maxDurationSeconds=-1", {"json": [{"maxDurationSeconds": 1}]}, NEGATIVE))
    def test_take_precedence(self, ari, query, more, expected):
        """JSON body over query over form (res_ari_channels.c, ast_ari_channels_record_parse_body)."""
        expect(ari.post(PROBE, query, **more), **expected)

    @rows("more, name",
          ("JSON over query", {"json": {"name": "j"}}, "j"),
          ("query over form", {"form": "name=f"}, "q"),
          ("a JSON null is absent and replaces the query", {"json": {"name": None}}, ""),
          ("a JSON number too", {"json": {"name": 17}}, ""),
          ("a JSON boolean too", {"json": {"name": True}}, ""),
          ("a JSON list too", {"json": {"name": ["a"]}}, ""))
    def test_that_are_texts_take_precedence(self, ari, more, name):
        """A JSON value that is no text is as none, and still replaces the query's (json.c, ast_json_string_get)."""
        expect(ari.post("/bridges/" + ari.id("b"), {"name": "q"}, **more), status=200, has={"name": name})

    def test_of_the_path_can_not_be_overridden(self, ari):
        """An id of the path is never taken from elsewhere (ari/resource_bridges.c)."""
        bridge, other = ari.id("mine"), ari.id("other")
        expect(ari.post("/bridges/" + bridge, {"bridgeId": other}, json={"bridgeId": other}), status=200,
               has={"id": bridge})


class TestIntegerParameter:
    @rows("value, expected",
          ("minus one", "-1", NEGATIVE), ("one", "1", NOT_NEGATIVE), ("empty", "", NOT_NEGATIVE),
          ("a sign alone", "-", NOT_NEGATIVE), ("letters", "abc", NOT_NEGATIVE),
          ("letters after digits", "-3abc", NEGATIVE), ("letters before digits", "abc-3", NOT_NEGATIVE),
          ("blanks before it", "%20%09-3", NEGATIVE), ("two signs", "%2B-3", NOT_NEGATIVE),
          ("hexadecimal", "-0x5", NOT_NEGATIVE), ("an exponent", "-1e3", NEGATIVE),
          ("a fraction", "-0.9", NOT_NEGATIVE),
          ("32 bits are cut: 4294967295 is -1", "4294967295", NEGATIVE),
          ("2147483648 is negative", "2147483648", NEGATIVE),
          ("4294967296 is 0", "4294967296", NOT_NEGATIVE),
          ("64 bits are a clamp: beyond is -1", "99999999999999999999", NEGATIVE),
          ("below is 0", "-99999999999999999999", NOT_NEGATIVE))
    def test_in_the_query_is_read_as_c_atoi(self, ari, value, expected):
        """Blanks, a sign, decimal digits, the rest ignored, cut to 32 bits (stdlib atoi)."""
        expect(ari.post(PROBE, "maxDurationSeconds=" + value), **expected)

    @rows("body, expected",
          ("an integer", NEGATIVE_JSON, NEGATIVE),
          ("a text", '{"maxDurationSeconds":"-1"}', NOT_NEGATIVE),
          ("a real", '{"maxDurationSeconds":-1.5}', NOT_NEGATIVE),
          ("null", '{"maxDurationSeconds":null}', NOT_NEGATIVE),
          ("a list", '{"maxDurationSeconds":[-1]}', NOT_NEGATIVE),
          ("a boolean", '{"maxDurationSeconds":true}', NOT_NEGATIVE),
          ("4294967295", '{"maxDurationSeconds":4294967295}', NEGATIVE),
          ("2147483648", '{"maxDurationSeconds":2147483648}', NEGATIVE),
          ("a name in another case", '{"MaxDurationSeconds":-1}', NOT_NEGATIVE),
          ("the last of equal names: negative", '{"maxDurationSeconds":1,"maxDurationSeconds":-1}', NEGATIVE),
          ("the last of equal names: positive", '{"maxDurationSeconds":-1,"maxDurationSeconds":1}', NOT_NEGATIVE))
    def test_in_json_is(self, ari, body, expected):
        """A JSON integer cut to 32 bits; anything else is 0 (json.c, ast_json_integer_get)."""
        expect(ari.post(PROBE, body=body, headers={"Content-Type": JSON_TYPE}), **expected)

    def test_is_checked_in_the_order_of_the_operation(self, ari):
        """maxDurationSeconds is looked at before maxSilenceSeconds (ari/resource_channels.c)."""
        expect(ari.post(PROBE, {"maxSilenceSeconds": -1, "maxDurationSeconds": -1}), **NEGATIVE)
        expect(ari.post(PROBE, {"maxSilenceSeconds": -1}), status=400,
               json=message("max_silence_seconds cannot be negative"))


ALL_CHANNELS, ALL_BRIDGES = "__AST_CHANNEL_ALL_TOPIC", "__AST_BRIDGE_ALL_TOPIC"
ALL_ENDPOINTS, ALL_DEVICES = "__AST_ENDPOINT_ALL_TOPIC", "__AST_DEVICE_STATE_ALL_TOPIC"


class TestBooleanParameter:
    @rows("word", ("yes", "yes"), ("true, in capitals", "TRUE"), ("y", "y"), ("t", "t"), ("1", "1"), ("on", "on"),
          ("the last of two", "no&subscribeAll=True"))
    def test_is_true_for(self, ari, word):
        """yes true y t 1 on, in any case (utils.c, ast_true)."""
        expect(ari.handshake(query="app=%s&subscribeAll=%s" % (ari.app, word)), status=101)
        expect(ari.application(), status=200, has={"channel_ids": [ALL_CHANNELS]})

    @rows("word", ("no", "no"), ("false", "false"), ("0", "0"), ("2", "2"), ("enabled", "enabled"), ("empty", ""),
          ("yes with a blank", "yes%20"), ("a word that only begins like one", "yess"), ("a short one", "ye"),
          ("the last of two", "yes&subscribeAll=no"))
    def test_is_false_for(self, ari, word):
        """Anything else (utils.c, ast_true)."""
        expect(ari.handshake(query="app=%s&subscribeAll=%s" % (ari.app, word)), status=101)
        expect(ari.application(), status=200, has={"channel_ids": []})


class TestListParameter:
    @rows("query, devices",
          ("one value", "eventSource=deviceState:{a}", "a"),
          ("commas split", "eventSource=deviceState:{a},deviceState:{b}", "ab"),
          ("escaped commas split", "eventSource=deviceState:{a}%2CdeviceState:{b}", "ab"),
          ("a repetition replaces", "eventSource=deviceState:{a}&eventSource=deviceState:{b}", "b"))
    def test_in_the_query(self, ari, events, query, devices):
        """The last one, split at commas after decoding (app.h, AST_NONSTANDARD_APP_ARGS)."""
        names = {letter: ari.id(letter) for letter in "ab"}
        reply = expect(ari.post("/applications/%s/subscription" % ari.app, query.format(**names)), status=200)
        expect(reply, has={"device_names": {names[letter] for letter in devices}})

    @rows("more, devices",
          ("a list", {"json": {"eventSource": ["deviceState:{a}", "deviceState:{b}"]}}, ["{a}", "{b}"]),
          ("one text", {"json": {"eventSource": "deviceState:{a}"}}, ["{a}"]),
          ("a text is not split", {"json": {"eventSource": "deviceState:{a},x"}}, ["{a},x"]),
          ("JSON replaces the query", {"json": {"eventSource": "deviceState:{a}"}, "params": "eventSource=bad:x"},
           ["{a}"]),
          ("a form", {"form": "eventSource=deviceState:{a},deviceState:{b}"}, ["{a}", "{b}"]))
    def test_in_a_body(self, ari, events, more, devices):
        """A JSON list, or one text as it stands; a form as the query (ari/resource_applications.c)."""
        def fill(thing):
            return jsonlib.loads(jsonlib.dumps(thing).replace("{a}", ari.id("a")).replace("{b}", ari.id("b")))
        expect(ari.post("/applications/%s/subscription" % ari.app, **fill(more)), status=200,
               has={"device_names": set(fill(devices))})

    @rows("query",
          ("an empty value", "eventSource="), ("no equals sign", "eventSource"), ("two empty ones", "eventSource=,"),
          ("blanks around", "eventSource=%20deviceState:a%20"))
    def test_keeps_empty_values_and_blanks(self, ari, events, query):
        """An empty value is one empty item, blanks are not trimmed: here both are bad URIs."""
        expect(ari.post("/applications/%s/subscription" % ari.app, query), status=400,
               json=message("Invalid event source URI scheme"))

    @rows("query, expected",
          ("127", "eventSource=" + ",".join(["x:"] * 127), "Invalid event source URI scheme"),
          ("128", "eventSource=" + ",".join(["x:"] * 128), "Too many values for event_source"),
          ("128, replaced by one", "eventSource=" + ",".join(["x:"] * 128) + "&eventSource=x:",
           "Too many values for event_source"))
    def test_may_have_127_values_not(self, ari, events, query, expected):
        """128 values are 400, even if a later repetition is short (res_ari_applications.c, MAX_VALS)."""
        expect(ari.post("/applications/%s/subscription" % ari.app, query), status=400, json=message(expected))


# --- JSON ---

def expect_text(events, wanted):
    """The next event has this text, with its timestamp and asterisk_id written as T and ID."""
    text = TIMESTAMP.sub("T", events.frame().payload.decode())
    text = re.sub(r'("asterisk_id": ?)"[^"]*"', r'\1"ID"', text)
    if text != wanted:
        fail(events.request, wanted, text)


class TestJsonText:
    @rows("written, text",
          ("a slash as it is", "a%2Fb", '"a/b"'),
          ("quote and backslash", "%22%5C", r'"\"\\"'),
          ("the short escapes", "%08%09%0A%0C%0D", r'"\b\t\n\f\r"'),
          ("other controls with capital digits", "%01%1F", r'"\u0001\u001F"'),
          ("DEL as it is", "%7F", '"\x7f"'),
          ("two bytes", "caf%C3%A9", '"caf\u00e9"'),
          ("three and four bytes", "%E2%82%AC%F0%9F%98%80", '"\u20ac\U0001f600"'),
          ("line separator", "%E2%80%A8", '"\u2028"'),
          ("characters of HTML", "%3C%3E%26%27", "\"<>&'\""))
    def test_has_these_bytes(self, compact, ari, written, text):
        """No blanks, UTF-8 as it is, six short escapes, other controls as \\u00XX (json.c, Jansson)."""
        expect(ari.get(DEVICE + written), status=200, grade="exact",
               body=('{"name":%s,"state":"INVALID"}' % text).encode())

    def test_of_a_message_has_no_line_end(self, compact, ari):
        """Compact JSON and nothing after it (res_ari.c, ast_ari_response_error)."""
        expect(ari.get("/nothing"), grade="exact", body=b'{"message":"Resource not found"}')

    def test_keeps_the_order_of_members(self, compact, ari, events):
        """An application's members in the order in which they were made (stasis/app.c, app_to_json)."""
        expect(ari.application(), grade="exact", body=(
            '{"name":"%s","channel_ids":[],"bridge_ids":[],"endpoint_ids":[],"device_names":[],"events_allowed":[],'
            '"events_disallowed":[]}' % ari.app).encode())

    def test_of_an_event_is_compact_too(self, compact, ari, events):
        """Events are said as replies are (ari/ari_websockets.c)."""
        ari.user_event("x", json={"variables": {"a": [1, {"b": None}], "t": "\x01/\u00e9"}})
        expect_text(events, '{"type":"ChannelUserevent","timestamp":"T","eventname":"x","userevent":{"a":[1,{"b":null'
                    '}],"t":"\\u0001/\u00e9","eventname":"x"},"asterisk_id":"ID","application":"%s"}' % ari.app)


class TestPrettyJson:
    def test_has_a_member_a_line(self, pretty_ari):
        """Two blanks a level, "key": value, no line end at the end (res_ari.c, ast_ari_json_format)."""
        expect(pretty_ari.get(DEVICE + "Stasis:x"), grade="exact",
               body=b'{\n  "name": "Stasis:x",\n  "state": "UNKNOWN"\n}')

    @rows("asked, status, text",
          ("an error", dict(method="GET", path="/nothing"), 404, "Resource not found"),
          ("missing credentials", dict(method="GET", path="/nothing", auth=None), 401, "Authentication required"),
          ("a bad body", dict(method="POST", path="/nothing", body="{", headers={"Content-Type": JSON_TYPE}), 400,
           "Error parsing request body"))
    def test_is_used_for(self, pretty_ari, asked, status, text):
        """Refusals are said the same way (res_ari.c, ast_ari_callback)."""
        expect(pretty_ari.request(**asked), status=status, grade="exact",
               body=('{\n  "message": "%s"\n}' % text).encode())

    def test_has_an_item_a_line_and_short_empty_lists(self, pretty_ari):
        """[] and {} at any level (Jansson)."""
        pretty_ari.events()
        lines = ("{", '  "name": "%s",' % pretty_ari.app, '  "channel_ids": [],', '  "bridge_ids": [],',
                 '  "endpoint_ids": [],', '  "device_names": [', '    "x"', "  ],", '  "events_allowed": [],',
                 '  "events_disallowed": []', "}")
        expect(pretty_ari.post("/applications/%s/subscription" % pretty_ari.app, {"eventSource": "deviceState:x"}),
               grade="exact", body="\n".join(lines).encode())

    def test_is_used_for_events(self, pretty_ari):
        """Events over the socket are indented as replies are (ari/ari_websockets.c)."""
        events = pretty_ari.events()
        pretty_ari.user_event("x", json={"variables": {"o": {}, "l": [1]}})
        expect_text(events, "\n".join((
            "{", '  "type": "ChannelUserevent",', '  "timestamp": "T",', '  "eventname": "x",', '  "userevent": {',
            '    "o": {},', '    "l": [', "      1", "    ],", '    "eventname": "x"', "  },", '  "asterisk_id": "ID",',
            '  "application": "%s"' % pretty_ari.app, "}")))


# --- credentials ---

def with_token(ari, text):
    """GET /asterisk/ping with this Authorization value."""
    return ari.get("/asterisk/ping", auth=None, headers={"Authorization": text})


def base64_of(text):
    return base64.b64encode(text.encode()).decode()


class TestBasicCredentials:
    @rows("change",
          ("user and password", lambda user, password: "Basic " + base64_of(user + ":" + password)),
          ("the user's name in capitals", lambda user, password: "Basic " + base64_of(user.upper() + ":" + password)),
          ("padding left out",
           lambda user, password: "Basic " + base64_of(user + ":" + password).rstrip("=")),
          ("text behind the padding",
           lambda user, password: "Basic " + base64_of(user + ":" + password).rstrip("=") + "= trailing"),
          ("text glued to the padding",
           lambda user, password: "Basic " + base64_of(user + ":" + password).rstrip("=") + "=trailing"))
    def test_are_taken_with(self, ari, change):
        """Base64 up to the first =, name in any case, split at the first colon (http.c, ast_http_get_auth)."""
        user, password = setting("ARI_AUTH").split(":", 1)
        expect(with_token(ari, change(user, password)), status=200)

    @rows("change",
          ("a wrong password", lambda user, password: "Basic " + base64_of(user + ":x" + password)),
          ("an unknown user", lambda user, password: "Basic " + base64_of("x" + user + ":" + password)),
          ("the password in another case",
           lambda user, password: "Basic " + base64_of(user + ":" + password.swapcase())),
          ("an empty password", lambda user, password: "Basic " + base64_of(user + ":")),
          ("an empty user", lambda user, password: "Basic " + base64_of(":" + password)),
          ("a colon alone", lambda user, password: "Basic " + base64_of(":")),
          ("no colon", lambda user, password: "Basic " + base64_of(user)),
          ("a colon and text after the password",
           lambda user, password: "Basic " + base64_of(user + ":" + password + ":x")),
          ("a section that is no user", lambda user, password: "Basic " + base64_of("general:")),
          ("nothing after Basic", lambda user, password: "Basic"),
          ("characters that are no base64", lambda user, password: "Basic !!!!"),
          ("basic in small letters", lambda user, password: "basic " + base64_of(user + ":" + password)),
          ("BASIC in capitals", lambda user, password: "BASIC " + base64_of(user + ":" + password)),
          ("two blanks after Basic", lambda user, password: "Basic  " + base64_of(user + ":" + password)),
          ("a tab after Basic", lambda user, password: "Basic\t" + base64_of(user + ":" + password)),
          ("another scheme", lambda user, password: "Bearer " + base64_of(user + ":" + password)),
          ("Digest", lambda user, password: 'Digest username="%s"' % user))
    def test_are_refused_with(self, ari, change):
        """Anything else is 401 with a challenge (res_ari.c, authenticate_user)."""
        user, password = setting("ARI_AUTH").split(":", 1)
        expect(with_token(ari, change(user, password)), closes=False,
               headers={"WWW-Authenticate": 'Basic realm="%s"' % setting("ARI_REALM")}, **UNAUTHORIZED)

    def test_are_asked_for(self, ari):
        """No credentials: 401 with the realm (res_ari.c, ast_ari_callback)."""
        expect(ari.get("/asterisk/ping", auth=None), closes=False,
               headers={"WWW-Authenticate": 'Basic realm="%s"' % setting("ARI_REALM")}, **UNAUTHORIZED)

    @rows("first, second, expected",
          ("another scheme, then good", "Bearer x", "good", {"status": 200}),
          ("wrong, then good", "Basic eDp5", "good", UNAUTHORIZED),
          ("good, then wrong", "good", "Basic eDp5", {"status": 200}),
          ("without a colon, then good", "Basic bm9jb2xvbg==", "good", UNAUTHORIZED))
    def test_in_two_fields(self, ari, first, second, expected):
        """The first field that begins with `Basic ` decides (http.c, ast_http_get_auth)."""
        values = [basic(setting("ARI_AUTH")) if value == "good" else value for value in (first, second)]
        expect(ari.get("/asterisk/ping", auth=None, headers=[("Authorization", value) for value in values]), **expected)

    @rows("password", ("an empty password", ""), ("any password", "x"))
    def test_never_let_in_a_user_without_a_password_with(self, ari, password):
        """A user whose password is empty can not log in (ari/config.c, ast_ari_config_validate_user)."""
        expect(with_token(ari, basic("%s:%s" % (setting("ARI_NO_PASSWORD_USER"), password))), **UNAUTHORIZED)


class TestCryptedPassword:
    def test_is_compared_by_crypt(self, ari, crypted):
        """password_format = crypt: crypt(3) of the password equals the hash (ari/config.c, ast_crypt_validate)."""
        expect(ari.get("/asterisk/ping", auth=crypted), status=200)

    def test_may_write(self, ari, crypted):
        """A crypted password is as good as a plain one."""
        expect(ari.delete("/deviceStates/Stasis:" + ari.id("none"), auth=crypted), status=204)

    @rows("change", ("another case", str.swapcase), ("a blank more", lambda password: password + " "),
          ("nothing", lambda password: ""))
    def test_is_refused_with(self, ari, crypted, change):
        """A wrong password does not make the hash (ari/config.c, ast_crypt_validate)."""
        user, password = crypted.split(":", 1)
        expect(ari.get("/asterisk/ping", auth="%s:%s" % (user, change(password))), **UNAUTHORIZED)

    def test_is_not_the_hash_itself(self, ari, crypted):
        """Who knows the hash does not know the password (ari/config.c, ast_crypt_validate)."""
        if not crypted == CONTRACT["ARI_CRYPTED_AUTH"]:
            pytest.skip("precondition missing: the hash is not known (ARI_CRYPTED_AUTH is not %s)"
                        % CONTRACT["ARI_CRYPTED_AUTH"])
        stored = re.search(r"password = (\$6\$\S+)", CONFIGURATION).group(1)
        expect(ari.get("/asterisk/ping", auth="%s:%s" % (crypted.split(":")[0], stored)), **UNAUTHORIZED)


class TestApiKey:
    @rows("query",
          ("user and password", "api_key={auth}"), ("an escaped colon", "api_key={escaped}"),
          ("the name in capitals", "API_KEY={auth}"), ("the name in odd case", "Api_Key={auth}"),
          ("the name escaped", "%61pi_key={auth}"), ("the first of two", "api_key={auth}&api_key=bad:bad"))
    def test_is_taken_with(self, ari, query):
        """Parameter api_key, name in any case, the first one counts (res_ari.c, authenticate_api_key)."""
        auth = setting("ARI_AUTH")
        expect(ari.get("/asterisk/ping", query.format(auth=auth, escaped=quote_plus(auth)), auth=None), status=200)

    @rows("query",
          ("a wrong password", "api_key={auth}x"), ("a colon more", "api_key={auth}:"),
          ("no colon", "api_key=asterisk"),
          ("nothing", "api_key="), ("not even an equals sign", "api_key"), ("a colon alone", "api_key=:"),
          ("the second of two", "api_key=bad:bad&api_key={auth}"),
          ("the second of two in another case", "api_key=bad:bad&API_KEY={auth}"), ("another name", "apikey={auth}"),
          ("a blank before the user", "api_key=+{auth}"))
    def test_is_refused_with(self, ari, query):
        """Anything else is 401 (res_ari.c, authenticate_api_key)."""
        expect(ari.get("/asterisk/ping", query.format(auth=setting("ARI_AUTH")), auth=None), **UNAUTHORIZED)

    @rows("key, authorization, expected",
          ("good, after a wrong Basic", "good", "Basic eDp5", UNAUTHORIZED),
          ("good, after an empty Basic", "good", "Basic Og==", UNAUTHORIZED),
          ("good, after a Basic without a colon", "good", "Basic bm9jb2xvbg==", {"status": 200}),
          ("good, after another scheme", "good", "Bearer x", {"status": 200}),
          ("good, after basic in small letters", "good", "basic eDp5", {"status": 200}),
          ("wrong, after a good Basic", "x:y", "good", {"status": 200}))
    def test_is_only_tried_without_basic(self, ari, key, authorization, expected):
        """Authorization decides when it is Basic with a colon (res_ari.c, authenticate_user)."""
        good = setting("ARI_AUTH")
        headers = {"Authorization": basic(good) if authorization == "good" else authorization}
        expect(ari.get("/asterisk/ping", {"api_key": good if key == "good" else key}, auth=None, headers=headers),
               **expected)

    @rows("query, more, expected",
          ("a form", "", {"form": "api_key={auth}"}, {"status": 404}),
          ("a form before the query: wrong", "api_key={auth}", {"form": "api_key=x:y"}, UNAUTHORIZED),
          ("a form before the query: good", "api_key=x:y", {"form": "API_KEY={auth}"}, {"status": 404}),
          ("not JSON", "", {"json": {"api_key": "{auth}"}}, UNAUTHORIZED),
          ("not a header", "", {"headers": {"api_key": "{auth}"}}, UNAUTHORIZED),
          ("JSON beside the query", "api_key={auth}", {"json": {"api_key": "x:y"}}, {"status": 404}))
    def test_may_stand_in(self, ari, query, more, expected):
        """Form, then query; neither JSON nor a header field (res_ari.c, authenticate_api_key)."""
        more = jsonlib.loads(jsonlib.dumps(more).replace("{auth}", setting("ARI_AUTH")))
        expect(ari.get("/bridges/" + ari.id("none"), query.replace("{auth}", setting("ARI_AUTH")), auth=None, **more),
               **expected)

    def test_of_a_reader_may_not_write(self, ari, read_only):
        """The api_key's user is the user (res_ari.c, ast_ari_callback)."""
        expect(ari.post("/bridges", {"api_key": read_only}, auth=None), status=403, json=message("Write access denied"))

    def test_opens_an_event_socket(self, ari):
        """A browser can not set Authorization for a WebSocket; api_key does (res_ari.c, ast_ari_callback)."""
        expect(ari.handshake(query={"app": ari.app, "api_key": setting("ARI_AUTH")}, auth=None), status=101)


# --- CORS ---

def cors(origin, **more):
    """The header fields that an allowed origin gets."""
    return dict({"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}, **more)


NO_CORS = dict.fromkeys("Access-Control-Allow-" + name for name in ("Origin", "Credentials", "Methods", "Headers"))


class TestCorsOnAnswers:
    @rows("asked, expected",
          ("200", dict(method="GET", path="/asterisk/ping"), {"status": 200}),
          ("204", dict(method="DELETE", path="/deviceStates/Stasis:none"), {"status": 204}),
          ("400", dict(method="POST", path="/bridges", body="{", json_type=True), UNPARSED),
          ("401", dict(method="GET", path="/asterisk/ping", auth=None), UNAUTHORIZED),
          ("404", dict(method="GET", path="/nothing"), NO_RESOURCE),
          ("404 for a slash", dict(method="GET", path="/channels/"), {"status": 404}),
          ("404 for a document", dict(method="GET", path="/api-docs/none.json"), NO_RESOURCE),
          ("405", dict(method="POST", path="/endpoints"), {"status": 405}),
          ("405 to HEAD", dict(method="HEAD", path="/channels"), {"status": 405}))
    def test_name_an_allowed_origin(self, ari, allowed_origin, asked, expected):
        """Any answer under /ari says the origin and that credentials may be used (res_ari.c, process_cors_request)."""
        headers = [("Content-Type", JSON_TYPE)] * ("json_type" in asked) + [("Origin", allowed_origin)]
        asked = {key: value for key, value in asked.items() if key != "json_type"}
        expect(ari.request(headers=headers, **asked), headers=cors(allowed_origin), **expected)

    def test_name_an_allowed_origin_when_writing_is_denied(self, ari, allowed_origin, read_only):
        """403 too (res_ari.c, process_cors_request)."""
        expect(ari.post("/bridges", headers={"Origin": allowed_origin}, auth=read_only), status=403,
               headers=cors(allowed_origin))

    def test_name_an_allowed_origin_when_the_body_is_too_large(self, ari, allowed_origin):
        """413 too (res_ari.c, process_cors_request)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path("/bridges"), "Origin: " + allowed_origin,
                            "Content-Type: " + JSON_TYPE, "Content-Length: 40961")), headers=cors(allowed_origin),
               **TOO_LARGE)

    @rows("asked, expected",
          ("an error page outside ARI", dict(method="GET", target="/nothing"), NOT_HERE),
          ("the refusal of an upgrade", dict(method="GET", path="/events"), {"status": 426}))
    def test_name_no_origin_on(self, ari, allowed_origin, asked, expected):
        """HTML answers have no CORS fields (http.c, ast_http_error)."""
        expect(ari.request(headers={"Origin": allowed_origin}, **asked), headers=NO_CORS, **expected)

    @rows("name, change",
          ("the scheme in another case", "Origin", lambda origin: origin.replace("http", "HTTP")),
          ("a slash behind", "Origin", lambda origin: origin + "/"),
          ("a port", "Origin", lambda origin: origin + ":80"),
          ("null", "Origin", lambda origin: "null"),
          ("nothing", "Origin", lambda origin: ""),
          ("an asterisk", "Origin", lambda origin: "*"),
          ("a list", "Origin", lambda origin: origin + "," + origin),
          ("the field's name in small letters", "origin", lambda origin: origin),
          ("the field's name in capitals", "ORIGIN", lambda origin: origin))
    def test_name_no_origin_for(self, ari, allowed_origin, refused_origin, name, change):
        """Origins are compared byte for byte, the field's name too (res_ari.c, origin_allowed)."""
        expect(ari.get("/asterisk/ping", headers={name: change(allowed_origin)}), status=200, headers=NO_CORS)

    def test_do_not_change_for_a_refused_origin(self, ari, refused_origin):
        """A refused origin is served like anybody (res_ari.c, process_cors_request)."""
        expect(ari.get("/asterisk/ping", headers={"Origin": refused_origin}), status=200, headers=NO_CORS)

    def test_name_the_last_of_two_origins(self, ari, allowed_origin, refused_origin):
        """Of several Origin fields the last counts (res_ari.c, process_cors_request)."""
        expect(ari.get("/asterisk/ping", headers=[("Origin", refused_origin), ("Origin", allowed_origin)]),
               headers=cors(allowed_origin))


class TestCorsPreflight:
    @rows(
        "path, method, more, echoed",
        ("a method that there is", "/channels", "POST", {}, None),
        ("a method of an item", "/channels/x", "DELETE", {}, None),
        ("fields that are wanted", "/channels", "POST", {"Access-Control-Request-Headers": "content-type, x-thing"},
         "content-type, x-thing"),
        ("fields as they were written", "/channels/x/play", "POST", {"Access-Control-Request-Headers": "A,b , C"},
         "A,b , C"),
        ("an empty list of fields", "/channels", "POST", {"Access-Control-Request-Headers": ""}, None),
        ("fields, the name in small letters", "/channels", "POST", {"access-control-request-headers": "x"}, None))
    def test_is_granted_for(self, ari, allowed_origin, path, method, more, echoed):
        """The methods are those of Allow, the wanted fields come back unchanged (res_ari.c, handle_options)."""
        headers = dict({"Origin": allowed_origin, "Access-Control-Request-Method": method}, **more)
        reply = expect(ari.options(path, headers=headers), status=204)
        expect(reply, headers=cors(allowed_origin, **{"Access-Control-Allow-Methods": reply.header("Allow"),
                                                      "Access-Control-Allow-Headers": echoed}))

    @rows("path, headers",
          ("no method", "/channels", {"Access-Control-Request-Headers": "x"}),
          ("an empty method", "/channels", {"Access-Control-Request-Method": ""}),
          ("a method that there is not", "/channels", {"Access-Control-Request-Method": "DELETE",
           "Access-Control-Request-Headers": "x"}),
          ("a method in small letters", "/channels", {"Access-Control-Request-Method": "post"}),
          ("OPTIONS", "/channels", {"Access-Control-Request-Method": "OPTIONS"}),
          ("HEAD", "/channels", {"Access-Control-Request-Method": "HEAD"}),
          ("the field's name in small letters", "/channels", {"access-control-request-method": "POST"}),
          ("GET of the event socket", "/events", {"Access-Control-Request-Method": "GET"}),
          ("the root", "", {"Access-Control-Request-Method": "GET"}))
    def test_is_not_granted_for(self, ari, allowed_origin, path, headers):
        """Only a method of the resource itself grants; the origin is named all the same (res_ari.c, handle_options)."""
        expect(ari.options(path, headers=dict(headers, Origin=allowed_origin)), status=204, headers=cors(allowed_origin,
               **{"Access-Control-Allow-Methods": None, "Access-Control-Allow-Headers": None}))

    @rows("origin", ("a refused origin", "refused"), ("no origin", None))
    def test_means_nothing_for(self, ari, refused_origin, origin):
        """Without an allowed origin it is an ordinary OPTIONS (res_ari.c, handle_options)."""
        headers = [("Origin", refused_origin)] * (origin is not None)
        headers += [("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "x")]
        expect(ari.options("/channels", headers=headers), status=204, headers=dict(NO_CORS, Allow="OPTIONS,GET,POST"))

    def test_needs_credentials(self, ari, allowed_origin):
        """A browser's preflight without credentials is 401, with the origin named (res_ari.c, ast_ari_callback)."""
        headers = {"Origin": allowed_origin, "Access-Control-Request-Method": "POST"}
        expect(ari.options("/channels", headers=headers, auth=None), headers=cors(allowed_origin), **UNAUTHORIZED)

    def test_is_granted_to_an_api_key(self, ari, allowed_origin):
        """api_key in the URL is how a preflight passes (res_ari.c, authenticate_api_key)."""
        headers = {"Origin": allowed_origin, "Access-Control-Request-Method": "POST"}
        expect(ari.options("/channels", {"api_key": setting("ARI_AUTH")}, headers=headers, auth=None), status=204,
               headers=cors(allowed_origin, **{"Access-Control-Allow-Methods": "OPTIONS,GET,POST"}))

    def test_fields_mean_nothing_on_other_methods(self, ari, allowed_origin):
        """Access-Control-Request-Method counts on OPTIONS alone (res_ari.c, handle_options)."""
        headers = {"Origin": allowed_origin, "Access-Control-Request-Method": "GET"}
        expect(ari.get("/asterisk/ping", headers=headers), status=200, headers={"Access-Control-Allow-Methods": None})

    def test_does_not_send_back_control_characters(self, departure, ari, allowed_origin):
        """Wanted fields with a control character are not echoed; Asterisk sends them back."""
        headers = {"Origin": allowed_origin, "Access-Control-Request-Method": "POST",
                   "Access-Control-Request-Headers": "a\x01b"}
        expect(ari.options("/channels", headers=headers), status=204, headers=cors(allowed_origin, **{
            "Access-Control-Allow-Methods": "OPTIONS,GET,POST", "Access-Control-Allow-Headers": None}))


# --- API description ---

DOCUMENTS = ("asterisk", "endpoints", "channels", "bridges", "recordings", "sounds", "playbacks", "deviceStates",
             "mailboxes", "events", "applications")


@pytest.fixture(scope="module")
def documents(server):
    """The eleven documents of the API description, by file name."""
    client = Client(server, "t")
    return {name + ".json": client.get("/api-docs/%s.json" % name).json for name in DOCUMENTS}


def declared(document):
    """(path, operation) of each operation in a document."""
    return [(api["path"], operation) for api in document["apis"] for operation in api["operations"]]


def parameter_notation(parameter):
    """A parameter in the notation of OPERATIONS."""
    text = ("+" if parameter["paramType"] == "body" else "") + parameter["name"]
    text += "!" * bool(parameter.get("required")) + "[]" * bool(parameter.get("allowMultiple"))
    text += "" if parameter["dataType"] == "string" else ":" + parameter["dataType"]
    default = parameter.get("defaultValue", parameter.get("defalutValue"))      # one is misspelt in Asterisk 16
    if default is not None:
        text += "=" + (default if isinstance(default, str) else jsonlib.dumps(default))
    allowed = parameter.get("allowableValues")
    if allowed:
        text += "{%s}" % ("|".join(allowed["values"]) if allowed["valueType"] == "LIST" else "%s.." % allowed["min"])
    return text


class TestApiDescription:
    @pytest.mark.parametrize("operation", OPERATION_ROWS, ids=lambda row: "%s %s" % (row.method, row.path))
    def test_declares(self, documents, operation):
        """Nickname, reply and parameters as in Asterisk 16's rest-api (rest-api/api-docs/*.json)."""
        found = [one for path, one in declared(documents[operation.document])
                 if (path, one["httpMethod"]) == (operation.path, operation.method)]
        actual = [" ".join([one["nickname"], one["responseClass"]] + [
            parameter_notation(parameter) for parameter in one.get("parameters", [])
            if parameter["paramType"] != "path"]) for one in found]
        wanted = " ".join([operation.nickname, operation.reply, operation.parameters]).strip()
        if actual != [wanted]:
            fail("GET /ari/api-docs/" + operation.document, wanted, "\n".join(actual) or "nothing")

    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_declares_each_path_parameter_of(self, documents, name):
        """Every {name} of a path is a parameter with paramType path, in its order, and no other is."""
        for path, operation in declared(documents[name + ".json"]):
            named = [one["name"] for one in operation.get("parameters", []) if one["paramType"] == "path"]
            if named != re.findall(r"\{(\w+)\}", path):
                fail("GET /ari/api-docs/%s.json" % name, "path parameters of " + path, str(named))

    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_declares_nothing_else_in(self, documents, name):
        """A document has the operations of its resource and no other."""
        actual = {(one["httpMethod"], path) for path, one in declared(documents[name + ".json"])}
        wanted = {(row.method, row.path) for row in OPERATION_ROWS if row.document == name + ".json"}
        if actual != wanted:
            fail("GET /ari/api-docs/%s.json" % name, str(sorted(wanted - actual)), str(sorted(actual - wanted)))

    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_is_complete_for_client_generators_in(self, documents, name):
        """What swaggerpy and the JavaScript client read is there: summaries, codes, reasons, model ids, types."""
        document = documents[name + ".json"]
        faults = [key for key in ("apiVersion", "swaggerVersion", "basePath", "resourcePath", "apis", "models")
                  if key not in document]
        for path, operation in declared(document):
            faults += ["%s: no summary" % path] * (not operation.get("summary"))
            faults += ["%s: error %s" % (path, error) for error in operation.get("errorResponses", [])
                       if not error.get("reason") or not str(error.get("code")).isdigit()]
        for key, model in document["models"].items():
            faults += ["model %s: id" % key] * (model.get("id") != key)
            faults += ["model %s: %s" % (key, kind) for kind in model.get("subTypes", [])
                       if kind not in document["models"]]
            faults += ["model %s.%s: no type" % (key, member) for member, value in model["properties"].items()
                       if not value.get("type")]
        if faults:
            fail("GET /ari/api-docs/%s.json" % name, "a complete document", "\n".join(faults))

    def test_has_a_model_for_every_type(self, documents):
        """A type that is no primitive is the model of one of the documents."""
        models = {key for document in documents.values() for key in document["models"]}
        used = {one["responseClass"] for document in documents.values() for _, one in declared(document)}
        used |= {value["type"] for document in documents.values() for model in document["models"].values()
                 for value in model["properties"].values()}
        primitives = {"void", "string", "int", "long", "double", "boolean", "Date", "object", "binary"}
        missing = {re.sub(r"List\[(\w+)\]", r"\1", kind) for kind in used} - models - primitives
        if missing:
            fail("GET /ari/api-docs/*.json", "a model for every type", "none for " + ", ".join(sorted(missing)))

    def test_knows_70_models_of_which_43_are_those_of_events(self, documents):
        """38 event types, their bases and members (rest-api/api-docs/events.json)."""
        counts = tuple(sum(len(document["models"]) for document in chosen)
                       for chosen in (documents.values(), [documents["events.json"]]))
        if counts != (70, 43):
            fail("GET /ari/api-docs/*.json", "70 models, 43 of them in events.json", "%d and %d" % counts)

    def test_marks_the_event_socket(self, documents):
        """upgrade: websocket tells a client that GET /events is one."""
        operation = next(one for path, one in declared(documents["events.json"]) if path == "/events")
        if (operation.get("upgrade"), operation.get("websocketProtocol")) != ("websocket", "ari"):
            fail("GET /ari/api-docs/events.json", "upgrade websocket, websocketProtocol ari", shown(operation))

    def test_has_a_listing(self, ari):
        """resources.json names the documents in order (rest-api/resources.json)."""
        reply = expect(ari.get("/api-docs/resources.json"), status=200, headers={"Content-type": "application/json"},
                       has={"swaggerVersion": re.compile(r"1\.[12]"), "basePath": str})
        paths = [api["path"] for api in reply.json["apis"]]
        wanted = ["/api-docs/%s.{format}" % name for name in DOCUMENTS]
        if paths != wanted:
            fail(reply.request, ", ".join(wanted), ", ".join(paths))

    @rows("fields, base",
          ("the Host field", ["Host: ari.example:1234"], "http://ari.example:1234/ari"),
          ("the Host field without a port", ["Host: ari.example"], "http://ari.example/ari"),
          ("the first of two Host fields", ["Host: a", "Host: b"], "http://a/ari"))
    def test_has_a_base_path_from(self, ari, fields, base):
        """basePath is http://<Host>/ari (res_ari.c, ast_ari_get_docs)."""
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.path("/api-docs/sounds.json"), ari.authorization, *fields)),
               status=200, has={"basePath": base})

    def test_has_no_base_path_without_a_host(self, ari):
        """Without Host the key is left out (res_ari.c, ast_ari_get_docs)."""
        reply = ari.raw(head("GET %s HTTP/1.1" % ari.path("/api-docs/sounds.json"), ari.authorization))
        expect(reply, status=200)
        assert "basePath" not in reply.json

    @rows("path",
          ("a query", "/api-docs/resources.json?x=y"), ("an empty segment", "/api-docs//resources.json"),
          ("a dot", "/api-docs/./resources.json"))
    def test_is_found_with(self, ari, path):
        """Queries, empty segments and dots are harmless (res_ari.c, ast_ari_get_docs)."""
        expect(ari.get(path), status=200, has={"apis": list})

    @rows("path, expected",
          ("without a document", "/api-docs", NO_RESOURCE),
          ("an unknown document", "/api-docs/nope.json", NO_RESOURCE),
          ("a name without its end", "/api-docs/resources", NO_RESOURCE),
          ("a name in capitals", "/api-docs/RESOURCES.json", NO_RESOURCE),
          ("another format", "/api-docs/resources.xml", NO_RESOURCE),
          ("an escaped name", "/api-docs/resources%2ejson", NO_RESOURCE),
          ("something below a document", "/api-docs/resources.json/x", NO_RESOURCE),
          ("a folder that is not there", "/api-docs/nope/resources.json", NO_RESOURCE),
          ("the folder above", "/api-docs/..", NO_RESOURCE),
          ("a file above", "/api-docs/../resources.json", NO_RESOURCE),
          ("far above", "/api-docs/../../../../../../../../etc/passwd", NO_RESOURCE),
          ("above, escaped", "/api-docs/%2e%2e/%2e%2e/x", NO_RESOURCE),
          ("the folder itself", "/api-docs/.", {"status": 403, "json": message("Invalid access")}),
          ("a slash", "/api-docs/", {"status": 404, "json": message(SLASH % "/api-docs")}))
    def test_is_not_found(self, ari, path, expected):
        """Only the documents of the folder, by their exact names (res_ari.c, ast_ari_get_docs)."""
        expect(ari.get(path), **expected)

    @rows("method", *[(method, method) for method in ("POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH")])
    def test_can_only_be_read_not(self, ari, method):
        """405 without Allow, before the name is looked at (res_ari.c, ast_ari_get_docs)."""
        expect(ari.request(method, "/api-docs/nope.json"), status=405, json=message("Unsupported method"),
               headers={"Allow": None})

    @rows("method", ("POST", "POST"), ("OPTIONS", "OPTIONS"))
    def test_without_a_document_is_an_unknown_resource_for(self, ari, method):
        """/api-docs alone is none (res_ari.c, ast_ari_invoke)."""
        expect(ari.request(method, "/api-docs"), **NO_RESOURCE)


# --- event socket: handshake ---

VERSION_REFUSED = {"status": 400, "body": b"", "headers": {"Sec-WebSocket-Version": "7, 8, 13", "Content-type": None,
                                                           "Content-Length": "0"}}
UPGRADE_REQUIRED = {"status": 426, "page": ""}


def accept_of(key):
    """RFC 6455 4.2.2: the answer to a key."""
    return base64.b64encode(hashlib.sha1((key + WEBSOCKET_MAGIC).encode("latin-1")).digest()).decode()


class TestHandshake:
    def test_is_answered_with_101_and_the_accept_key(self, ari):
        """The key of RFC 6455 1.3 gives s3pPLMBiTxaQ9kYGzzhZRbK+xOo= (RFC 6455 4.2.2)."""
        expect(ari.handshake(), status=101, headers={"Upgrade": "websocket", "Connection": "Upgrade",
               "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-WebSocket-Protocol": None,
               "Sec-WebSocket-Extensions": None})

    def test_has_these_fields_in_order(self, ari):
        """Upgrade, Connection, Accept, Protocol, and no Server or Date (res_http_websocket.c)."""
        reply = expect(ari.handshake(change={"Sec-WebSocket-Protocol": "ari"}), grade="exact", status=101)
        names = ["Upgrade", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol"]
        if [name for name, _ in reply.headers] != names:
            fail(reply.request, " ".join(names), " ".join(name for name, _ in reply.headers))

    @rows("change, more",
          ("Upgrade in odd case", {"Upgrade": "WebSocket"}, []),
          ("Upgrade in capitals", {"Upgrade": "WEBSOCKET"}, []),
          ("names in odd case", {"Upgrade": None, "Sec-WebSocket-Key": None},
           ["uPGRADE: websocket", "SEC-WEBSOCKET-KEY: dGhlIHNhbXBsZSBub25jZQ=="]),
          ("no Connection", {"Connection": None}, []),
          ("Connection: keep-alive, Upgrade", {"Connection": "keep-alive, Upgrade"}, []),
          ("Connection: close", {"Connection": "close"}, []),
          ("no Host", {"Host": None}, []),
          ("the last of two Upgrade fields", {"Upgrade": "h2c"}, ["Upgrade: websocket"]),
          ("an empty second Upgrade field", {}, ["Upgrade:"]),
          ("extensions", {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}, []),
          ("a foreign origin", {"Origin": "http://evil.example"}, []),
          ("both Key1 and Key2 without a protocol", {"Sec-WebSocket-Key1": "a", "Sec-WebSocket-Key2": "b"}, []),
          ("Key1 alone with a protocol", {"Sec-WebSocket-Protocol": "ari", "Sec-WebSocket-Key1": "a"}, []))
    def test_succeeds_with(self, ari, change, more):
        """Connection, origin and extensions are not looked at; the last field counts (res_http_websocket.c)."""
        expect(ari.handshake(change=change, more=more), status=101, headers={"Sec-WebSocket-Extensions": None})

    def test_repeats_the_upgrade_as_it_was_written(self, ari):
        """The client's value in the client's case (res_http_websocket.c, ast_websocket_uri_cb)."""
        expect(ari.handshake(change={"Upgrade": "WebSocket"}), status=101, headers={"Upgrade": "WebSocket"})

    @rows("change, more",
          ("no Upgrade", {"Upgrade": None}, []),
          ("no Upgrade and no Connection", {"Upgrade": None, "Connection": None}, []),
          ("an empty Upgrade", {"Upgrade": ""}, []),
          ("a list", {"Upgrade": "websocket, h2c"}, []),
          ("another protocol", {"Upgrade": "h2c"}, []),
          ("another protocol last", {}, ["Upgrade: h2c"]))
    def test_needs_an_upgrade_to_websocket_not(self, ari, change, more):
        """Upgrade must be websocket, in any case: else 426 (res_http_websocket.c, ast_websocket_uri_cb)."""
        expect(ari.handshake(change=change, more=more), closes=False, **UPGRADE_REQUIRED)

    @rows("key", ("one letter", "x"), ("no base64", "not base64 at all!"), ("a long text", "a" * 100))
    def test_takes_any_key(self, ari, key):
        """The accept key is computed over the text as sent (res_http_websocket.c, websocket_combine_key)."""
        expect(ari.handshake(change={"Sec-WebSocket-Key": key}), status=101,
               headers={"Sec-WebSocket-Accept": accept_of(key)})

    def test_takes_the_last_of_two_keys(self, ari):
        """A field sent twice: the last counts (res_http_websocket.c, ast_websocket_uri_cb)."""
        expect(ari.handshake(more=["Sec-WebSocket-Key: BBBBBBBBBBBBBBBBBBBBBB=="]), status=101,
               headers={"Sec-WebSocket-Accept": accept_of("BBBBBBBBBBBBBBBBBBBBBB==")})

    @rows("key", ("no key", None), ("an empty key", ""))
    def test_needs_a_key_not(self, ari, key):
        """No key: 400 with the versions and no body (res_http_websocket.c, websocket_bad_request)."""
        expect(ari.handshake(change={"Sec-WebSocket-Key": key}), closes=False, **VERSION_REFUSED)

    @rows("version", ("13", "13"), ("8", "8"), ("7", "7"), ("with leading zeros", "0013"), ("with letters", "13abc"),
          ("first of a list", "13, 12"), ("with a fraction", "8.5"))
    def test_takes_version(self, ari, version):
        """The leading number is 7, 8 or 13 (res_http_websocket.c, sscanf)."""
        expect(ari.handshake(change={"Sec-WebSocket-Version": version}), status=101)

    @rows("version", ("6", "6"), ("14", "14"), ("0", "0"), ("none", None), ("letters", "abc"), ("12 first", "12, 13"))
    def test_refuses_version(self, ari, version):
        """Other versions: 400 that says which there are (RFC 6455 4.4; res_http_websocket.c)."""
        expect(ari.handshake(change={"Sec-WebSocket-Version": version}), closes=False, **VERSION_REFUSED)

    @rows("protocol, chosen",
          ("ari", "ari", "ari"), ("in capitals", "ARI", "ARI"), ("second of a list", "foo,ari", "ari"),
          ("first of a list", "ari, foo", "ari"))
    def test_chooses_the_protocol(self, ari, protocol, chosen):
        """The first member that is ari, in any case, in the client's spelling (res_http_websocket.c)."""
        expect(ari.handshake(change={"Sec-WebSocket-Protocol": protocol}), status=101,
               headers={"Sec-WebSocket-Protocol": chosen})

    @rows("protocol, line",
          ("kept before", "foo, ari", " ari"), ("dropped behind", "foo,  Ari , bar", "  Ari"))
    def test_blanks_around_the_protocol_are(self, ari, protocol, line):
        """Blanks before the member come back, those behind do not (res_http_websocket.c, ast_websocket_uri_cb)."""
        expect(ari.handshake(change={"Sec-WebSocket-Protocol": protocol}), grade="exact", status=101,
               headers={"Sec-WebSocket-Protocol": line})

    def test_needs_no_protocol(self, ari):
        """An empty list is as none (res_http_websocket.c)."""
        expect(ari.handshake(change={"Sec-WebSocket-Protocol": ""}), status=101,
               headers={"Sec-WebSocket-Protocol": None})

    def test_takes_the_last_of_two_protocol_fields(self, ari):
        """A field sent twice: the last counts (res_http_websocket.c)."""
        expect(ari.handshake(change={"Sec-WebSocket-Protocol": "foo"}, more=["Sec-WebSocket-Protocol: ari"]),
               status=101)

    @rows("change, more",
          ("another", {"Sec-WebSocket-Protocol": "echo"}, []),
          ("a list of others", {"Sec-WebSocket-Protocol": "foo, bar"}, []),
          ("another last", {"Sec-WebSocket-Protocol": "ari"}, ["Sec-WebSocket-Protocol: foo"]),
          ("ari with Key1 and Key2", {"Sec-WebSocket-Protocol": "ari", "Sec-WebSocket-Key1": "a",
                                      "Sec-WebSocket-Key2": "b"}, []))
    def test_refuses_protocol(self, ari, change, more):
        """A list without ari is 400; so are the fields of the draft before RFC 6455 (res_http_websocket.c)."""
        expect(ari.handshake(change=change, more=more), closes=False, **VERSION_REFUSED)

    @rows("options, expected",
          ("credentials first", dict(auth=None, change={"Upgrade": None}), UNAUTHORIZED),
          ("credentials before a slash", dict(auth=None, slash="/"), UNAUTHORIZED),
          ("a slash before the upgrade", dict(slash="/", change={"Upgrade": None}),
           {"status": 404, "json": message(SLASH % "/events")}),
          ("the upgrade before the protocol", dict(change={"Upgrade": None, "Sec-WebSocket-Protocol": "foo"}),
           UPGRADE_REQUIRED),
          ("the protocol before the version", dict(change={"Sec-WebSocket-Protocol": "foo",
                                                           "Sec-WebSocket-Version": None}), VERSION_REFUSED),
          ("the version before app", dict(query="x=y", change={"Sec-WebSocket-Version": "5"}), VERSION_REFUSED),
          ("the key before app", dict(query="x=y", change={"Sec-WebSocket-Key": None}), VERSION_REFUSED))
    def test_is_checked_in_order(self, ari, options, expected):
        """Credentials, slash, Upgrade, protocol, version, key, app (res_http_websocket.c, ast_websocket_uri_cb)."""
        options = dict(options)
        target = ari.path("/events" + options.pop("slash", ""))
        expect(ari.handshake(target=target, **options), closes=False, **expected)

    @rows("query, text",
          ("app is missing", "foo=bar", "HTTP request is missing param: [app]"),
          ("app is spelt in another case", "App=demo", "HTTP request is missing param: [app]"),
          ("app is empty", "app=", "Invalid application provided in param [app]."),
          ("app has no value", "app", "Invalid application provided in param [app]."),
          ("an empty name at the end", "app={app},", "Invalid application provided in param [app]."),
          ("an empty name between", "app={app},,b", "Invalid application provided in param [app]."),
          ("the last app is empty", "app={app}&app=", "Invalid application provided in param [app]."))
    def test_is_refused_when(self, ari, query, text):
        """Without a good app HTML 400 is the first answer (ari/ari_websockets.c; resource_events.c)."""
        expect(ari.handshake(query=query.format(app=ari.app)), status=400, page=text)
        ari.eventually("/applications/" + ari.app, status=404, json=message("Application not found"))

    @rows("query",
          ("app is missing", "foo=bar"), ("app is empty", "app="), ("a member is empty", "app={app},"),
          ("a member is not UTF-8", "app={app},%FF"))
    def test_is_refused_once_when(self, departure, ari, query):
        """One reply to one request (RFC 9112 9.3), and the connection stays open; Asterisk sends two."""
        reply = expect(ari.handshake(query=query.format(app=ari.app)), status=400)
        reply.connection.send(head("GET %s HTTP/1.1" % ari.ping, ari.authorization).encode())
        expect(reply.connection.reply("%s; then GET %s on the same connection" % (reply.request, ari.ping)), status=200)

    def test_that_is_refused_replaces_nobody(self, departure, ari, events):
        """A list with a bad member does nothing at all; Asterisk takes the applications before it away."""
        expect(ari.handshake(app=ari.app + ","), status=400)
        events.expect_none("ApplicationReplaced")

    @rows("method, status, text", ("POST", "POST", 405, "Invalid method"), ("PUT", "PUT", 405, "Invalid method"),
          ("DELETE", "DELETE", 405, "Invalid method"), ("HEAD", "HEAD", 405, "Invalid method"))
    def test_is_a_get_and_not(self, ari, method, status, text):
        """Only GET opens a socket; Allow does not list it (ari/resource_events.c)."""
        expect(ari.handshake(method=method), status=status, json=message(text), headers={"Allow": "OPTIONS"})

    @rows("path, expected",
          ("a resource below", "/events/foo", NO_RESOURCE),
          ("Events in another case", "/Events", NO_RESOURCE),
          ("user", "/events/user", {"status": 405, "headers": {"Allow": "OPTIONS"}}),
          ("a user event", "/events/user/x", {"status": 405, "headers": {"Allow": "OPTIONS,POST"}}))
    def test_is_for_events_and_not_for(self, ari, path, expected):
        """No other resource opens a socket (res_ari.c, ast_ari_invoke)."""
        expect(ari.handshake(target=ari.path(path)), **expected)

    def test_is_open_to_a_reader(self, ari, read_only):
        """A read_only user may listen (res_ari.c, ast_ari_callback)."""
        expect(ari.handshake(auth=read_only), status=101)

    @rows("auth", ("no credentials", None), ("a wrong password", "wrong"))
    def test_needs_credentials_not(self, ari, auth):
        """401 as anywhere (res_ari.c, ast_ari_callback)."""
        user = setting("ARI_AUTH").split(":")[0]
        expect(ari.handshake(auth=auth and "%s:x%s" % (user, auth)), headers={
            "WWW-Authenticate": 'Basic realm="%s"' % setting("ARI_REALM")}, **UNAUTHORIZED)

    def test_has_no_cors_fields(self, ari, allowed_origin):
        """101 names no origin (res_http_websocket.c)."""
        expect(ari.handshake(change={"Origin": allowed_origin}), status=101, headers=NO_CORS)


class TestApplicationNames:
    @rows("query, name",
          ("the last app counts", "app=x&app={app}", "{app}"),
          ("an empty earlier app does not matter", "app=&app={app}", "{app}"),
          ("blanks", "app={app}%20b", "{app} b"),
          ("UTF-8", "app={app}%C3%A9", "{app}\u00e9"),
          ("commas in parentheses do not split", "app=({app},y)", "({app},y)"),
          ("commas in brackets do not split", "app=[{app},y]", "[{app},y]"),
          ("commas in quotes do not split, and the quotes go", "app={app}%22s,t%22", "{app}s,t"),
          ("an escaped comma splits", "app={app}%2C{app}-2", "{app}-2"),
          ("several names", "app={app}-1,{app}-2,{app}-3", "{app}-2"))
    def test_are_any_text(self, ari, query, name):
        """Decoded, split at commas outside brackets and quotes, not trimmed (ari/resource_events.c)."""
        expect(ari.handshake(query=query.format(app=ari.app)), status=101)
        expect(ari.application(name.format(app=ari.app)), status=200, has={"name": name.format(app=ari.app)})

    def test_are_case_sensitive(self, ari, events):
        """Another case is another application (res_stasis.c, app_hash)."""
        expect(ari.application(ari.app.upper()), status=404, json=message("Application not found"))

    def test_given_first_are_not_registered(self, ari):
        """Of several app parameters the last alone counts (ari/ari_websockets.c)."""
        expect(ari.handshake(query="app=%s&app=%s-2" % (ari.app, ari.app)), status=101)
        expect(ari.application(), status=404, json=message("Application not found"))


# --- event socket: frames ---

class TestFrames:
    @rows("payload", ("a word", b"hi"), ("nothing", b""), ("any bytes", b"\x00\xff\x80"), ("125 bytes", b"x" * 125))
    def test_a_ping_is_answered_with(self, events, payload):
        """A pong with the same payload (RFC 6455 5.5.3)."""
        events.send(PING, payload)
        events.expect_frame(PONG, payload)

    @rows("opcode, payload",
          ("a pong", PONG, b"yo"), ("an empty pong", PONG, b""), ("JSON", TEXT, b'{"a":1}'),
          ("text that is no JSON", TEXT, b"not json"), ("an empty text", TEXT, b""), ("bytes", BINARY, b"\0\1\2"),
          ("125 bytes", TEXT, b"x" * 125), ("126 bytes", TEXT, b"x" * 126),
          ("as many bytes as a frame may have", TEXT, b"x" * 65527),
          ("as many other bytes as a frame may have", BINARY, b"\xff" * 65527))
    def test_are_read_and_thrown_away(self, ari, events, opcode, payload):
        """What a client says is not answered (ari/ari_websockets.c; res_http_websocket.c, ast_websocket_read)."""
        events.send(opcode, payload)
        events.send(PING, b"alive")
        events.expect_frame(PONG, b"alive")

    def test_may_be_fragments(self, events):
        """A message in three fragments with a ping between them (RFC 6455 5.4)."""
        events.send(TEXT, b'{"a":', fin=0)
        events.send(PING, b"between")
        events.expect_frame(PONG, b"between")
        events.send(CONTINUATION, b"1", fin=0)
        events.send(CONTINUATION, b"}")
        events.send(PING, b"alive")
        events.expect_frame(PONG, b"alive")

    def test_events_come_between_fragments(self, ari, events):
        """An unfinished message of the client holds up no event (res_http_websocket.c)."""
        events.send(TEXT, b"begun", fin=0)
        ari.user_event("during")
        events.expect("ChannelUserevent", eventname="during")

    def test_may_come_in_pieces(self, events):
        """A frame is a frame however TCP cuts it (RFC 6455 5.2)."""
        for piece in (b"\x89", b"\x82\x01\x02\x03\x04", b"\x60\x61"):
            events.send_bytes(piece)
        events.expect_frame(PONG, b"ac")

    def test_may_come_together(self, events):
        """Four frames in one packet are answered in order (RFC 6455 5.2)."""
        events.send_bytes(frame_bytes(PING, b"1") + frame_bytes(TEXT, b"x") + frame_bytes(PING)
                          + frame_bytes(PING, b"3"))
        for payload in (b"1", b"", b"3"):
            events.expect_frame(PONG, payload)

    def test_of_the_server_are_whole_and_unmasked(self, ari, events):
        """Server frames are never masked nor fragmented here (RFC 6455 5.1)."""
        ari.user_event("x")
        frame = events.frame()
        if (frame.opcode, frame.fin, frame.rsv, frame.masked) != (TEXT, 1, 0, 0):
            fail(events.request, "an unmasked text frame with FIN", str(frame))

    @rows("length", ("a length in 16 bits", 1000), ("a length in 64 bits", 70000))
    def test_of_the_server_may_have(self, ari, events, length):
        """Long events use the longer forms of the length (RFC 6455 5.2)."""
        part = "v" * (length // 2)
        ari.user_event("x", json={"variables": {"a": part}})
        events.expect("ChannelUserevent", userevent={"a": part})

    @rows("data",
          ("bytes, 16-bit length", "82feffff11223344"),
          ("text, one byte too many", "81fefff811223344"),
          ("text, 64-bit length", "81ff000000000001000011223344"))
    def test_beyond_65535_bytes_are_1009(self, events, data):
        """More than 65535 bytes with the head is told from the head alone (res_http_websocket.c, ws_safe_read)."""
        events.send_bytes(bytes.fromhex(data))
        events.expect_close(1009)

    def test_beyond_the_limit_end_the_application(self, ari, events):
        """When the close frame comes, the application is gone (ari/ari_websockets.c)."""
        events.send_bytes(bytes.fromhex("82feffff11223344"))
        events.expect_close(1009)
        expect(ari.application(), status=404)


class TestFramesByTheRfc:
    @rows("data, code",
          ("an unmasked text", frame_bytes(TEXT, b"{}", mask=None), 1002),
          ("an unmasked ping", frame_bytes(PING, b"x", mask=None), 1002),
          ("an unmasked close", frame_bytes(CLOSE, b"\x03\xe8", mask=None), 1002),
          ("RSV1 on a text", frame_bytes(TEXT, b"{}", rsv=4), 1002),
          ("RSV3 on a ping", frame_bytes(PING, b"x", rsv=1), 1002),
          ("opcode 3", frame_bytes(3, b"x"), 1002),
          ("opcode 11", frame_bytes(11), 1002),
          ("a ping of 126 bytes", frame_bytes(PING, b"x" * 126), 1002),
          ("a ping that is a fragment", frame_bytes(PING, b"x", fin=0), 1002),
          ("a pong that is a fragment", frame_bytes(PONG, b"x", fin=0), 1002),
          ("a close that is a fragment", frame_bytes(CLOSE, b"\x03\xe8", fin=0), 1002),
          ("a continuation of nothing", frame_bytes(CONTINUATION, b"stray"), 1002),
          ("a message inside an unfinished one", frame_bytes(TEXT, b"a", fin=0) + frame_bytes(TEXT, b"b"), 1002),
          ("a length that is longer than need be", bytes.fromhex("89fe0002112233447b5b"), 1002),
          ("a length with the top bit", bytes.fromhex("81ff800000000000000011223344"), 1002),
          ("text that is not UTF-8", frame_bytes(TEXT, b"\xff"), 1007),
          ("text cut inside a character", frame_bytes(TEXT, b"\xc3"), 1007),
          ("text that is not UTF-8 in its second fragment",
           frame_bytes(TEXT, b"a", fin=0) + frame_bytes(CONTINUATION, b"\xff"), 1007),
          ("a close reason that is not UTF-8", frame_bytes(CLOSE, b"\x03\xe8\xff"), 1007),
          ("a close of one byte", frame_bytes(CLOSE, b"\x03"), 1002),
          ("close code 0", frame_bytes(CLOSE, b"\0\0"), 1002),
          ("close code 999", frame_bytes(CLOSE, struct.pack("!H", 999)), 1002),
          ("close code 1004", frame_bytes(CLOSE, struct.pack("!H", 1004)), 1002),
          ("close code 1005", frame_bytes(CLOSE, struct.pack("!H", 1005)), 1002),
          ("close code 1006", frame_bytes(CLOSE, struct.pack("!H", 1006)), 1002),
          ("close code 1015", frame_bytes(CLOSE, struct.pack("!H", 1015)), 1002),
          ("close code 2000", frame_bytes(CLOSE, struct.pack("!H", 2000)), 1002),
          ("close code 5000", frame_bytes(CLOSE, struct.pack("!H", 5000)), 1002),
          ("fragments of more than 65535 bytes",
           frame_bytes(TEXT, b"x" * 60000, fin=0) + frame_bytes(CONTINUATION, b"x" * 6000), 1009))
    def test_are_refused(self, departure, events, data, code):
        """What a client may not send fails the connection (RFC 6455 5.1-5.6, 7.4, 8.1); Asterisk takes most of it."""
        events.send_bytes(data)
        events.expect_close(code)

    def test_in_the_packet_of_the_handshake_are_read(self, departure, ari):
        """Frames right behind the request are frames (RFC 6455 4.1); Asterisk lets them lie."""
        connection = ari.connect()
        connection.send(head("GET %s?app=%s HTTP/1.1" % (ari.path("/events"), ari.app), ari.authorization,
                             "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
                             "Sec-WebSocket-Key: x").encode() + frame_bytes(PING, b"early"))
        reply = expect(connection.reply("handshake and ping in one packet"), status=101)
        Events(ari, reply, ari.app).expect_frame(PONG, b"early")

    def test_in_many_pieces_are_read(self, departure, events):
        """A frame may come byte by byte (RFC 6455 5.2); Asterisk gives up after ten reads."""
        for byte in frame_bytes(PING, b"0123456789abcdef"):
            events.send_bytes(bytes([byte]))
        events.expect_frame(PONG, b"0123456789abcdef")

    def test_that_are_half_there_hold_up_nothing(self, departure, ari, events):
        """Events come while a frame of the client is incomplete; Asterisk makes them wait."""
        events.send_bytes(frame_bytes(PING, b"whole")[:4])
        ari.user_event("meanwhile")
        events.expect("ChannelUserevent", eventname="meanwhile")


class TestClosing:
    @rows("code", *[(str(code), code) for code in (1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 4999)])
    def test_is_answered_in_kind_with(self, events, code):
        """The same code without the reason, then TCP ends (RFC 6455 5.5.1 and 7.4)."""
        events.send(CLOSE, struct.pack("!H", code) + "caf\u00e9".encode())
        events.expect_close(code)

    def test_without_a_code_is_answered_with_1000(self, events):
        """No code is a normal closure (res_http_websocket.c, ast_websocket_read)."""
        events.send(CLOSE)
        events.expect_close(1000)

    def test_unregisters_before_it_answers(self, ari, events):
        """Who has read the close frame finds the application gone (ari/ari_websockets.c)."""
        events.close()
        expect(ari.application(), status=404, json=message("Application not found"))

    def test_ends_the_reading(self, events):
        """What follows a close frame is not looked at (RFC 6455 5.5.1)."""
        events.send_bytes(frame_bytes(CLOSE, b"\x03\xe8") + frame_bytes(PING, b"too late"))
        events.expect_close(1000)

    def test_by_half_closing_tcp_is_answered_with_1000(self, events):
        """The end of the stream is as a close frame without a code (res_http_websocket.c, ast_websocket_read)."""
        events.connection.half_close()
        events.expect_close(1000)

    def test_by_closing_tcp_ends_the_application(self, ari, events):
        """A client that goes away loses its application (ari/ari_websockets.c)."""
        events.connection.close()
        ari.eventually("/applications/" + ari.app, status=404, json=message("Application not found"))


# --- event socket: a reader that does not read ---

ATTEMPTS = 1 if STRICT else 6       # Asterisk leaves one of ten half dead: its close frame still fitted into the buffer
DROP_SECONDS = 2 * DEADLINE_SECONDS if STRICT else 2.5
BIG = {"variables": {"filling": "x" * 4000}}
BIG_EVENTS = 2200                   # 9 MB: more than the buffers of both ends hold


def stop_reading(ari, app):
    """Open a socket, read nothing, and make events until its application is gone; the socket, or None if it stays."""
    unread = ari.events(app, receive_buffer_bytes=4096)
    deadline = time.monotonic() + DROP_SECONDS
    for number in itertools.count():
        if ari.user_event("n%d" % number, unread.app, json=BIG if number < BIG_EVENTS else {}).status == 404:
            return unread
        if time.monotonic() > deadline:
            return None


@pytest.fixture
def stuck(ari):
    """A socket of two applications that was dropped because it did not read."""
    for attempt in range(ATTEMPTS):
        app = ari.id("stuck-%d" % attempt)
        dropped = stop_reading(ari, "%s,%s-2" % (app, app))
        if dropped:
            return dropped
    fail("curl -X POST .../ari/events/user/n%d of 4 kB each, for a socket that does not read",
         "the application is unregistered", "it stays",
         "websocket_write_timeout drops a socket that does not read (res_http_websocket.c, ast_websocket_write)")


class TestWriteTimeout:
    def test_drops_a_socket_that_does_not_read(self, ari, stuck):
        """A write that takes too long ends TCP (res_http_websocket.c, ast_websocket_write)."""
        if not stuck.connection.drain():
            fail(stuck.request, "the end of TCP", "a connection that stays open")

    def test_sends_whole_events_in_order_before_it_drops(self, ari, stuck):
        """What was written before are the first events, each once (stasis/app.c, app_send)."""
        try:
            while True:
                stuck._read(time.monotonic() + DEADLINE_SECONDS)
        except NoReply:
            names = [event["eventname"] for event in stuck.waiting if "eventname" in event]
        if names != ["n%d" % number for number in range(len(names))] or not names:
            fail(stuck.request, "n0, n1, n2 ...", ", ".join(names))

    def test_unregisters_every_application_of_the_socket(self, ari, stuck):
        """The other application of the same socket goes too (ari/ari_websockets.c)."""
        ari.eventually("/applications/%s-2" % stuck.app, status=404, json=message("Application not found"))

    def test_holds_up_no_other_socket(self, ari, events):
        """Other applications get their events while one socket is stuck (stasis/app.c, app_send)."""
        stuck = ari.events(ari.app + "-stuck", receive_buffer_bytes=4096)
        for number in range(400):
            expect(ari.user_event("big", stuck.app, json=BIG), rule="callers are not held up by a stuck socket")
        expect(ari.user_event("meanwhile"), status=204)
        events.expect("ChannelUserevent", eventname="meanwhile")

    def test_lets_the_name_be_taken_again(self, ari, stuck):
        """The name is free when the socket was dropped (res_stasis.c, stasis_app_register)."""
        again = ari.events(stuck.app)
        ari.user_event("again", stuck.app)
        again.expect("ChannelUserevent", eventname="again")


# --- applications ---

NO_APPLICATION = {"status": 404, "json": message("Application not found")}


def application_json(name, **members):
    """An application as ARI shows it, empty but for the given members."""
    return dict({"name": name, "channel_ids": [], "bridge_ids": [], "endpoint_ids": [], "device_names": [],
                 "events_allowed": [], "events_disallowed": []}, **members)


def subscribe(ari, *sources, app=None, method="POST"):
    """POST (or DELETE) /applications/{app}/subscription, by default the case's own."""
    return ari.request(method, "/applications/%s/subscription" % quote(app or ari.app, safe=""),
                       {"eventSource": ",".join(sources)})


def set_filter(ari, body, app=None):
    """PUT /applications/{app}/eventFilter with this JSON, by default the case's own."""
    return ari.put("/applications/%s/eventFilter" % (app or ari.app), json=body)


class TestApplication:
    def test_is_not_there_before_its_socket(self, ari):
        """An application exists from its handshake on (res_stasis.c, stasis_app_register)."""
        expect(ari.application(), **NO_APPLICATION)

    def test_is_there_when_its_socket_is(self, ari, events):
        """It is shown with its name, subscriptions and filters (stasis/app.c, app_to_json)."""
        expect(ari.application(), status=200, json=application_json(ari.app))

    def test_is_listed(self, ari, events):
        """GET /applications lists it as GET /applications/NAME shows it, in no promised order (res_stasis.c)."""
        reply = expect(ari.get("/applications"), status=200)
        if [one for one in reply.json if one["name"] == ari.app] != [application_json(ari.app)]:
            fail(reply.request, "a list with " + shown(application_json(ari.app)), str(reply))

    def test_is_not_listed_any_more_when_its_socket_is_closed(self, ari, events):
        """Without subscriptions it goes with its socket (res_stasis.c, stasis_app_unregister)."""
        events.close()
        reply = expect(ari.get("/applications"), status=200)
        if any(one["name"] == ari.app for one in reply.json):
            fail(reply.request, "a list without %s" % ari.app, str(reply))

    def test_can_be_opened_again(self, ari, events):
        """A name can be used again (res_stasis.c, stasis_app_register)."""
        events.close()
        again = ari.events()
        ari.user_event("again")
        again.expect("ChannelUserevent", eventname="again")

    def test_shares_a_socket_with_others(self, ari):
        """Events say which application they are for (stasis/app.c, app_send)."""
        events = ari.events("%s,%s-2" % (ari.app, ari.app))
        for app in (ari.app, ari.app + "-2"):
            expect(ari.user_event("x", app), status=204)
            events.expect("ChannelUserevent", application=app)

    def test_ends_with_a_shared_socket(self, ari):
        """All applications of a socket go with it (ari/ari_websockets.c)."""
        ari.events("%s,%s-2" % (ari.app, ari.app)).close()
        expect(ari.application(), **NO_APPLICATION)
        expect(ari.application(ari.app + "-2"), **NO_APPLICATION)

    def test_does_not_announce_itself(self, ari):
        """There are no ApplicationRegistered and ApplicationUnregistered events, not even for subscribeAll."""
        events = ari.events(subscribe_all=True)
        ari.events(ari.app + "-2").close()
        events.marker()
        seen = [event for event in events.waiting if "Registered" in event["type"] or "registered" in event["type"]]
        if seen:
            fail(events.request, "no such event", shown(seen))

    def test_can_be_read_by_a_reader(self, ari, events, read_only):
        """A read_only user may look (res_ari.c, ast_ari_callback)."""
        expect(ari.get("/applications/" + ari.app, auth=read_only), status=200)

    @rows("path", ("an unknown name", "/applications/{id}"), ("a name that is not UTF-8", "/applications/{id}%FF"))
    def test_is_not_found_by(self, ari, path):
        """404 (ari/resource_applications.c, ast_ari_applications_get)."""
        expect(ari.get(path.format(id=ari.id("none"))), **NO_APPLICATION)


class TestInactiveApplication:
    @pytest.fixture
    def bridge(self, ari, events):
        """A bridge that keeps the application, whose socket has been closed."""
        bridge = ari.bridge()
        expect(subscribe(ari, "bridge:" + bridge), status=200)
        events.close()
        return bridge

    def test_stays_for_a_subscription(self, ari, bridge):
        """A channel, bridge or endpoint subscription keeps it (stasis/app.c, app_is_finished)."""
        expect(ari.application(), status=200, json=application_json(ari.app, bridge_ids=[bridge]))

    def test_does_not_stay_for_a_device_state(self, ari, events):
        """Device states do not count (stasis/app.c, app_is_finished)."""
        expect(subscribe(ari, "deviceState:" + ari.id("d")), status=200)
        events.close()
        expect(ari.application(), **NO_APPLICATION)

    def test_does_not_stay_for_a_filter(self, ari, events):
        """Filters do not count (stasis/app.c, app_is_finished)."""
        expect(set_filter(ari, {"disallowed": [{"type": "Dial"}]}), status=200)
        events.close()
        expect(ari.application(), **NO_APPLICATION)

    def test_takes_user_events_and_loses_them(self, ari, bridge):
        """204, and nothing is sent when the socket is there again (stasis/app.c, app_send)."""
        for _ in range(4):          # an Asterisk under load may still have the event at hand when the socket opens
            expect(ari.user_event("lost"), status=204)
            events = ari.events()
            events.marker()
            if not events.find("ChannelUserevent", eventname="lost"):
                return
            events.close()
        fail(events.request, "no event from the time without a socket", "ChannelUserevent lost")

    def test_can_be_subscribed(self, ari, bridge):
        """Subscriptions come and go as ever (ari/resource_applications.c)."""
        device = ari.id("d")
        expect(subscribe(ari, "deviceState:" + device), status=200,
               json=application_json(ari.app, bridge_ids=[bridge], device_names=[device]))
        expect(subscribe(ari, "deviceState:" + device, method="DELETE"), status=200,
               json=application_json(ari.app, bridge_ids=[bridge]))

    def test_can_be_filtered(self, ari, bridge):
        """A filter can be set, and holds when the socket is there again (stasis/app.c, stasis_app_event_filter_set)."""
        expect(set_filter(ari, {"disallowed": [{"type": "ChannelUserevent"}]}), status=200)
        ari.events()
        expect(ari.application(), has={"events_disallowed": [{"type": "ChannelUserevent"}], "bridge_ids": [bridge]})

    def test_is_taken_up_again_without_a_word(self, ari, bridge):
        """Same subscriptions, no ApplicationReplaced (stasis/app.c, app_update)."""
        events = ari.events()
        expect(ari.application(), status=200, has={"bridge_ids": [bridge]})
        events.expect_none("ApplicationReplaced")
        expect(ari.delete("/bridges/" + bridge), status=204)
        events.expect("BridgeDestroyed", bridge=bridge)

    def test_goes_when_the_next_comes_after_its_last_subscription(self, ari, bridge):
        """It is swept out at the next registration of any application (res_stasis.c, cleanup)."""
        expect(subscribe(ari, "bridge:" + bridge, method="DELETE"), status=200, json=application_json(ari.app))
        ari.events(ari.app + "-2")
        expect(ari.application(), **NO_APPLICATION)

    def test_keeps_its_channels(self, ari, events):
        """Its channels stay in Stasis and can be controlled (res_stasis.c, stasis_app_exec)."""
        near, far = ari.pair(events)
        events.close()
        expect(ari.application(), status=200, has={"channel_ids": sorted([near, far])})
        expect(ari.post("/channels/%s/variable" % near, {"variable": "X", "value": "kept"}), status=204)

    def test_gets_no_second_start_for_its_channels(self, ari, events):
        """Who takes it up again is not told of the channels that are in it (res_stasis.c, stasis_app_register)."""
        near, _ = ari.pair(events)
        events.close()
        ari.events().expect_none("StasisStart", channel=near)

    def test_leaves_device_states_to_the_next_of_its_name(self, ari, events):
        """Device state subscriptions are kept by name (res_stasis_device_state.c)."""
        device = "Stasis:" + ari.id("d")
        expect(subscribe(ari, "deviceState:" + device), status=200)
        events.close()
        again = ari.events()
        expect(ari.application(), status=200, json=application_json(ari.app, device_names=[device]))
        expect(ari.put("/deviceStates/" + device, {"deviceState": "BUSY"}), status=204)
        again.expect("DeviceStateChanged", device_state=device)
        expect(subscribe(ari, "deviceState:" + device, method="DELETE"), status=200)

    def test_leaves_no_filter_to_the_next_of_its_name(self, ari, events):
        """Filters go with the application (stasis/app.c)."""
        expect(set_filter(ari, {"disallowed": [{"type": "ChannelUserevent"}]}), status=200)
        events.close()
        ari.events()
        expect(ari.application(), status=200, json=application_json(ari.app))

    def test_is_kept_for_ever_by_a_subscription_to_all(self, ari):
        """subscribeAll can not be undone, and outlives the socket (stasis/app.c, app_is_finished)."""
        ari.events(subscribe_all=True).close()
        expect(ari.application(), status=200, has={"channel_ids": [ALL_CHANNELS]})


class TestReplacedApplication:
    def test_is_told_to_the_old_socket(self, ari, events):
        """ApplicationReplaced names the application (stasis/app.c, app_update)."""
        ari.events()
        event = events.expect("ApplicationReplaced", application=ari.app, timestamp=TIMESTAMP)
        if set(event) - {"asterisk_id"} != {"type", "timestamp", "application"}:
            fail(events.request, "type, timestamp, application, asterisk_id", shown(event))

    def test_has_its_events_sent_to_the_new_socket(self, ari, events):
        """And no more to the old one (stasis/app.c, app_update)."""
        new = ari.events()
        expect(ari.user_event("mine"), status=204)
        new.expect("ChannelUserevent", eventname="mine")
        events.send(PING, b"still open")
        events.expect_frame(PONG, b"still open")
        if events.find("ChannelUserevent"):
            fail(events.request, "no event of the application", shown(events.waiting))

    def test_outlives_the_old_socket(self, ari, events):
        """The old socket does not hold it any more (ari/ari_websockets.c)."""
        new = ari.events()
        events.expect("ApplicationReplaced")
        events.close()
        expect(ari.user_event("still"), status=204)
        new.expect("ChannelUserevent", eventname="still")

    def test_leaves_the_others_of_its_socket(self, ari):
        """A socket keeps the applications that were not taken (ari/ari_websockets.c)."""
        old = ari.events("%s,%s-2" % (ari.app, ari.app))
        ari.events(ari.app + "-2")
        old.expect("ApplicationReplaced", application=ari.app + "-2")
        expect(ari.user_event("kept"), status=204)
        old.expect("ChannelUserevent", eventname="kept")

    def test_keeps_its_subscriptions(self, ari, events):
        """Subscriptions are the application's, not the socket's (stasis/app.c, app_update)."""
        bridge = ari.bridge()
        expect(subscribe(ari, "bridge:" + bridge), status=200)
        ari.events()
        expect(ari.application(), status=200, json=application_json(ari.app, bridge_ids=[bridge]))

    def test_does_not_subscribe_to_all(self, ari, events):
        """subscribeAll counts only when the application is made (stasis/app.c, app_create)."""
        ari.events(subscribe_all=True)
        expect(ari.application(), status=200, json=application_json(ari.app))

    def test_does_not_lose_its_subscription_to_all(self, ari):
        """Nor does it go without (stasis/app.c, app_update)."""
        ari.events(subscribe_all=True)
        ari.events()
        expect(ari.application(), status=200, has={"bridge_ids": [ALL_BRIDGES]})

    def test_by_itself_is_told_first(self, ari):
        """The same name twice in one handshake: the socket replaces itself and goes on (ari/ari_websockets.c)."""
        events = ari.events("%s,%s" % (ari.app, ari.app))
        events.expect("ApplicationReplaced", application=ari.app)
        expect(ari.user_event("on"), status=204)
        events.expect("ChannelUserevent", eventname="on")
        events.close()
        expect(ari.application(), **NO_APPLICATION)


# --- subscriptions ---

BAD_SCHEME = {"status": 400, "json": message("Invalid event source URI scheme")}
MISSING_SOURCE = {"status": 400, "json": message("Missing parameter eventSource")}
NO_SOURCE = {"status": 422, "json": message("Event source does not exist")}
NOT_SUBSCRIBED = {"status": 422, "json": message("Event source was not subscribed to")}


class TestSubscriptionRefusals:
    @rows("method", ("subscribe", "POST"), ("unsubscribe", "DELETE"))
    @rows("more",
          ("none", {}), ("an empty JSON list", {"json": {"eventSource": []}}), ("an empty object", {"json": {}}),
          ("an empty JSON list beside a good query", {"json": {"eventSource": []},
                                                      "params": {"eventSource": "deviceState:x"}}))
    def test_miss_the_event_source_in(self, ari, method, more):
        """400 before the application is looked for (ari/resource_applications.c)."""
        expect(ari.request(method, "/applications/%s/subscription" % ari.id("none"), **more), **MISSING_SOURCE)

    @rows("method", ("subscribe", "POST"), ("unsubscribe", "DELETE"))
    @rows("source", ("a good source", "deviceState:x"), ("a bad source", "bad:x"))
    def test_miss_the_application_for(self, ari, method, source):
        """404 before the sources are looked at (res_stasis.c, stasis_app_subscribe)."""
        expect(subscribe(ari, source, method=method), **NO_APPLICATION)

    @rows("method", ("subscribe", "POST"), ("unsubscribe", "DELETE"))
    @rows("source",
          ("nothing", ""), ("no scheme", "nosuch"), ("an unknown scheme", "bad:x"),
          ("a scheme without colon", "channel"),
          ("a scheme in another case", "Channel:x"), ("another scheme in another case", "devicestate:x"),
          ("a blank before the scheme", " channel:x"))
    def test_do_not_know(self, ari, events, method, source):
        """The scheme is channel:, bridge:, endpoint: or deviceState: (res_stasis.c, app_event_source_find)."""
        expect(subscribe(ari, source, method=method), **BAD_SCHEME)

    @rows("source", ("channel", "channel:{id}"), ("bridge", "bridge:{id}"), ("endpoint", "endpoint:Local/{id}"),
          ("technology", "endpoint:{id}"))
    def test_do_not_find_the(self, ari, events, source):
        """422 for what does not exist; any device state does (res_stasis.c, app_subscribe)."""
        expect(subscribe(ari, source.format(id=ari.id("none"))), **NO_SOURCE)

    @rows("source", ("channel", "channel:{id}"), ("bridge", "bridge:{id}"), ("endpoint", "endpoint:{id}"),
          ("device state", "deviceState:{id}"), ("channels, all", "channel:"), ("bridges, all", "bridge:"),
          ("endpoints, all", "endpoint:"), ("device states, all", "deviceState:"))
    def test_do_not_unsubscribe_from_the(self, ari, events, source):
        """422 for what was not subscribed to (res_stasis.c, app_unsubscribe)."""
        expect(subscribe(ari, source.format(id=ari.id("none")), method="DELETE"), **NOT_SUBSCRIBED)

    @rows("source", ("channels", "channel:"), ("bridges", "bridge:"), ("endpoints", "endpoint:"))
    def test_do_not_unsubscribe_from_all(self, ari, source):
        """501, and nothing changes (res_stasis.c, app_handle_subscriptions)."""
        ari.events(subscribe_all=True)
        before = ari.application().json
        expect(subscribe(ari, source, method="DELETE"), status=501, json=message("Method not implemented"))
        expect(ari.application(), status=200, json=before)

    @rows("sources, expected, kept",
          ("one that does not exist", ["bridge:{bridge}", "bridge:none-{bridge}", "deviceState:x"], NO_SOURCE, True),
          ("a bad one", ["bridge:{bridge}", "bad:x"], BAD_SCHEME, True),
          ("a bad one at the start", ["bad:x", "bridge:{bridge}"], BAD_SCHEME, False))
    def test_keep_the_sources_before(self, ari, events, sources, expected, kept):
        """URI by URI from the left, stopping at the first bad one (res_stasis.c, app_handle_subscriptions)."""
        bridge = ari.bridge()
        expect(subscribe(ari, *[source.format(bridge=bridge) for source in sources]), **expected)
        expect(ari.application(), status=200, json=application_json(ari.app, bridge_ids=[bridge] * kept))

    def test_undo_the_sources_before(self, ari, events):
        """Unsubscribing stops at the first bad one too (res_stasis.c, app_handle_subscriptions)."""
        bridge = ari.bridge()
        expect(subscribe(ari, "bridge:" + bridge), status=200)
        expect(subscribe(ari, "bridge:" + bridge, "bridge:" + bridge, method="DELETE"), **NOT_SUBSCRIBED)
        expect(ari.application(), status=200, json=application_json(ari.app))

    def test_tell_a_bad_body_first(self, ari):
        """400 before the application (res_ari.c, ast_ari_callback)."""
        expect(ari.post("/applications/none/subscription", body="{bad", headers={"Content-Type": JSON_TYPE}),
               **UNPARSED)

    def test_are_not_for_a_reader(self, ari, events, read_only):
        """Subscribing is writing (res_ari.c, ast_ari_callback)."""
        expect(ari.post("/applications/%s/subscription" % ari.app, {"eventSource": "deviceState:x"}, auth=read_only),
               status=403, json=message("Write access denied"))

    @rows("method", ("subscribe", "POST"), ("unsubscribe", "DELETE"))
    @rows("value", ("a number", 5), ("a list of a number", [1]), ("a list of null", [None]))
    def test_do_not_take(self, departure, ari, events, method, value):
        """Members that are no texts are bad URIs; they end an Asterisk 16."""
        expect(ari.request(method, "/applications/%s/subscription" % ari.app, json={"eventSource": value}),
               **BAD_SCHEME)


class TestSubscription:
    def test_to_a_bridge_brings_its_events(self, ari, events):
        """BridgeDestroyed with the bridge (stasis/app.c, sub_bridge_update_handler)."""
        bridge = ari.bridge()
        expect(subscribe(ari, "bridge:" + bridge), status=200, json=application_json(ari.app, bridge_ids=[bridge]))
        expect(ari.delete("/bridges/" + bridge), status=204)
        events.expect("BridgeDestroyed", bridge=bridge, application=ari.app)

    def test_to_a_bridge_ends_with_it(self, ari, events):
        """All interests in it go when it is destroyed (stasis/app.c)."""
        bridge = ari.bridge()
        expect(subscribe(ari, "bridge:" + bridge), status=200)
        expect(ari.delete("/bridges/" + bridge), status=204)
        ari.eventually("/applications/" + ari.app, status=200, json=application_json(ari.app))

    def test_to_one_bridge_brings_nothing_of_another(self, ari, events):
        """Only what was subscribed to (stasis/app.c)."""
        one, other = ari.bridge("one"), ari.bridge("other")
        expect(subscribe(ari, "bridge:" + one), status=200)
        expect(ari.delete("/bridges/" + other), status=204)
        expect(ari.delete("/bridges/" + one), status=204)
        events.expect_none("BridgeDestroyed", bridge=other, after=lambda: events.expect("BridgeDestroyed", bridge=one))

    def test_to_a_bridge_is_counted(self, ari, events):
        """Twice subscribed is twice to unsubscribe; the id is shown once (stasis/app.c, app_subscribe_bridge)."""
        bridge = ari.bridge()
        shown_once = application_json(ari.app, bridge_ids=[bridge])
        expect(subscribe(ari, "bridge:" + bridge), status=200, json=shown_once)
        expect(subscribe(ari, "bridge:" + bridge), status=200, json=shown_once)
        expect(subscribe(ari, "bridge:" + bridge, method="DELETE"), status=200, json=shown_once)
        expect(subscribe(ari, "bridge:" + bridge, method="DELETE"), status=200, json=application_json(ari.app))

    def test_ids_are_sorted(self, ari, events):
        """By byte value (stasis/app.c, app_to_json)."""
        bridges = [ari.bridge(word) for word in ("b", "a", "B")]
        expect(subscribe(ari, *["bridge:" + bridge for bridge in bridges]), status=200,
               has={"bridge_ids": sorted(bridges)})

    def test_to_a_channel_brings_its_events(self, ari, events):
        """Another application can watch a channel (stasis/app.c, app_subscribe_channel)."""
        near, _ = ari.pair(events)
        watcher = ari.events(ari.app + "-2")
        expect(subscribe(ari, "channel:" + near, app=watcher.app), status=200,
               json=application_json(watcher.app, channel_ids=[near]))
        expect(ari.post("/channels/%s/variable" % near, {"variable": "FOO", "value": "seen"}), status=204)
        watcher.expect("ChannelVarset", variable="FOO", value="seen", channel=near, application=watcher.app)

    def test_to_a_channel_ends_with_it(self, ari, events):
        """All interests in it go when it is destroyed (stasis/app.c)."""
        near, _ = ari.pair(events)
        watcher = ari.events(ari.app + "-2")
        expect(subscribe(ari, "channel:" + near, app=watcher.app), status=200)
        expect(ari.delete("/channels/" + near), status=204)
        watcher.expect("ChannelDestroyed", channel=near)
        ari.eventually("/applications/" + watcher.app, status=200, json=application_json(watcher.app))

    def test_to_a_channel_does_not_bring_its_start_and_end(self, ari, events):
        """StasisStart and StasisEnd go to the application of the channel alone (res_stasis.c)."""
        near, _ = ari.pair(events)
        watcher = ari.events(ari.app + "-2")
        expect(subscribe(ari, "channel:" + near, app=watcher.app), status=200)
        expect(ari.delete("/channels/" + near), status=204)
        watcher.expect_none("StasisEnd", after=lambda: watcher.expect("ChannelDestroyed", channel=near))

    def test_to_a_device_state_brings_its_changes(self, ari, events):
        """DeviceStateChanged when the state changes (res_stasis_device_state.c)."""
        device = "Stasis:" + ari.id("lamp")
        expect(subscribe(ari, "deviceState:" + device), status=200,
               json=application_json(ari.app, device_names=[device]))
        expect(ari.put("/deviceStates/" + device, {"deviceState": "INUSE"}), status=204)
        events.expect("DeviceStateChanged", application=ari.app, device_state={"name": device, "state": "INUSE"})

    def test_to_a_device_state_is_not_counted(self, ari, events):
        """Twice is once (res_stasis_device_state.c)."""
        device = "deviceState:" + ari.id("lamp")
        expect(subscribe(ari, device), status=200)
        expect(subscribe(ari, device), status=200)
        expect(subscribe(ari, device, method="DELETE"), status=200, json=application_json(ari.app))
        expect(subscribe(ari, device, method="DELETE"), **NOT_SUBSCRIBED)

    @rows("name", ("a stored one", "Stasis:{id}"), ("one that nobody controls", "SIP/{id}"), ("any word", "{id}"),
          ("a mailbox", "MWI:{id}"))
    def test_to_any_device_state_is_taken(self, ari, events, name):
        """The name of a device is not looked for (res_stasis_device_state.c)."""
        device = name.format(id=ari.id("d"))
        expect(subscribe(ari, "deviceState:" + device), status=200,
               json=application_json(ari.app, device_names=[device]))

    @rows("source, member, topic",
          ("channels", "channel:", "channel_ids", ALL_CHANNELS), ("bridges", "bridge:", "bridge_ids", ALL_BRIDGES),
          ("endpoints", "endpoint:", "endpoint_ids", ALL_ENDPOINTS),
          ("device states", "deviceState:", "device_names", ALL_DEVICES))
    def test_to_all(self, ari, events, source, member, topic):
        """An empty name is all of the kind, shown as its topic (stasis/app.c, app_subscribe_channel)."""
        expect(subscribe(ari, source), status=200, json=application_json(ari.app, **{member: [topic]}))

    def test_to_all_bridges_brings_created_ones(self, ari, events):
        """BridgeCreated is only for those who subscribed to all bridges (stasis/app.c)."""
        expect(subscribe(ari, "bridge:"), status=200)
        bridge = ari.bridge()
        events.expect("BridgeCreated", bridge=bridge)

    def test_to_all_device_states_brings_any(self, ari, events):
        """DeviceStateChanged of any device (res_stasis_device_state.c)."""
        expect(subscribe(ari, "deviceState:"), status=200)
        device = "Stasis:" + ari.id("d")
        expect(ari.put("/deviceStates/" + device, {"deviceState": "BUSY"}), status=204)
        events.expect("DeviceStateChanged", device_state={"name": device, "state": "BUSY"})

    def test_to_one_of_all_changes_nothing(self, ari, events):
        """With all of a kind a single one is taken and not shown (stasis/app.c)."""
        expect(subscribe(ari, "bridge:"), status=200)
        bridge = ari.bridge()
        expect(subscribe(ari, "bridge:" + bridge), status=200, json=application_json(ari.app, bridge_ids=[ALL_BRIDGES]))
        expect(subscribe(ari, "bridge:" + bridge, method="DELETE"), **NOT_SUBSCRIBED)

    def test_to_one_that_is_none_of_all_is_refused(self, ari, events):
        """With all of a kind a missing one is still missing (res_stasis.c, app_subscribe)."""
        expect(subscribe(ari, "bridge:"), status=200)
        expect(subscribe(ari, "bridge:" + ari.id("none")), **NO_SOURCE)

    @rows("name", ("one", "x"), ("all", ""))
    def test_to_all_device_states_can_be_left_without_effect_for(self, ari, events, name):
        """200, and nothing changes (res_stasis_device_state.c)."""
        expect(subscribe(ari, "deviceState:"), status=200)
        expect(subscribe(ari, "deviceState:" + name, method="DELETE"), status=200,
               json=application_json(ari.app, device_names=[ALL_DEVICES]))

    def test_to_everything_is_all_four(self, ari):
        """subscribeAll=true subscribes to every kind (stasis/app.c, app_create)."""
        ari.events(subscribe_all=True)
        expect(ari.application(), status=200, json=application_json(ari.app, channel_ids=[ALL_CHANNELS], bridge_ids=[
            ALL_BRIDGES], endpoint_ids=[ALL_ENDPOINTS], device_names=[ALL_DEVICES]))

    def test_is_not_made_by_making_a_bridge(self, ari, events):
        """Who makes a bridge hears nothing of it without subscribing (ari/resource_bridges.c)."""
        bridge = ari.bridge()
        events.expect_none("BridgeCreated", bridge=bridge)
        expect(ari.application(), status=200, json=application_json(ari.app))

    def test_is_made_by_originating(self, ari, events):
        """POST /channels with an active app subscribes it to both legs (ari/resource_channels.c)."""
        near, far = ari.pair(events, answer=False)
        expect(ari.application(), status=200, json=application_json(ari.app, channel_ids=sorted([near, far])))


# --- event filter ---

BAD_FILTER = {"status": 400, "json": message("Invalid format definition")}
A, B = {"type": "A"}, {"type": "B"}


class TestEventFilter:
    @rows("bodies, allowed, disallowed",
          ("allowed alone", [{"allowed": [A]}], [A], []),
          ("disallowed alone", [{"disallowed": [A, B]}], [], [A, B]),
          ("both", [{"allowed": [A], "disallowed": [B]}], [A], [B]),
          ("one after the other", [{"allowed": [A]}, {"disallowed": [B]}], [A], [B]),
          ("one again", [{"allowed": [A]}, {"allowed": [B]}], [B], []),
          ("an empty list", [{"allowed": [A], "disallowed": [B]}, {"allowed": []}], [], [B]),
          ("an unknown key alone", [{"allowed": [A]}, {"other": 1}], [A], []),
          ("an empty object", [{"allowed": [A], "disallowed": [B]}, {}], [], []),
          ("a list for both", [[A]], [A], [A]),
          ("an empty list for both", [{"allowed": [A]}, []], [], []),
          ("more keys than type", [{"allowed": [{"type": "A", "extra": 1}]}], [{"type": "A", "extra": 1}], []),
          ("the same type twice", [{"allowed": [A, A]}], [A, A], []))
    def test_is_set_by(self, ari, events, bodies, allowed, disallowed):
        """Each list that is there replaces its list (stasis/app.c, stasis_app_event_filter_set)."""
        for body in bodies:
            reply = expect(set_filter(ari, body), status=200)
        expect(reply, json=application_json(ari.app, events_allowed=allowed, events_disallowed=disallowed))
        expect(ari.application(), json=application_json(ari.app, events_allowed=allowed, events_disallowed=disallowed))

    @rows("more", ("no body", {}), ("a body that nobody reads", {"body": '{"allowed":[]}',
                                                               "headers": {"Content-Type": "text/plain"}}))
    def test_is_emptied_by(self, ari, events, more):
        """No JSON body is as an empty object (ari/resource_applications.c, ast_ari_applications_filter)."""
        expect(set_filter(ari, {"allowed": [A], "disallowed": [B]}), status=200)
        expect(ari.put("/applications/%s/eventFilter" % ari.app, **more), status=200, json=application_json(ari.app))

    @rows("body",
          ("a text", {"allowed": "StasisStart"}), ("a list of texts", {"allowed": ["StasisStart"]}),
          ("an empty type", {"allowed": [{"type": ""}]}), ("no type", {"allowed": [{"name": "x"}]}),
          ("a type that is no text", {"allowed": [{"type": 5}]}), ("an object", {"allowed": A}),
          ("null", {"disallowed": None}), ("a number after a good one", {"disallowed": [A, 1]}))
    def test_does_not_take(self, ari, events, body):
        """A list of objects with a text for a type: else 400, nothing changes (stasis/app.c, app_event_filter_set)."""
        expect(set_filter(ari, body), **BAD_FILTER)
        expect(ari.application(), json=application_json(ari.app))

    def test_does_not_take_a_form(self, ari, events):
        """A form is 400 (ari/resource_applications.c, ast_ari_applications_filter)."""
        expect(ari.put("/applications/%s/eventFilter" % ari.app, form="allowed=x"), **BAD_FILTER)

    def test_takes_the_disallowed_before_it_refuses_the_allowed(self, ari, events):
        """disallowed is set before allowed is looked at (stasis/app.c, stasis_app_event_filter_set)."""
        expect(set_filter(ari, {"allowed": [{}], "disallowed": [A]}), **BAD_FILTER)
        expect(ari.application(), json=application_json(ari.app, events_disallowed=[A]))

    @rows("body", ("a text", "text"), ("a number", 5), ("a boolean", True), ("null", None))
    def test_can_not_read_a_body_that_is(self, ari, body):
        """A JSON scalar is no body, before the application is looked for (res_ari.c, ast_ari_callback)."""
        expect(set_filter(ari, body), **UNPARSED)

    @rows("body", ("a good filter", {}), ("a bad filter", {"allowed": "x"}))
    def test_needs_an_application_for(self, ari, body):
        """404 before the filter is looked at (ari/resource_applications.c)."""
        expect(set_filter(ari, body), **NO_APPLICATION)

    def test_is_not_for_a_reader(self, ari, events, read_only):
        """Filtering is writing (res_ari.c, ast_ari_callback)."""
        expect(ari.put("/applications/%s/eventFilter" % ari.app, json={}, auth=read_only), status=403)


class TestFilteredEvents:
    @pytest.fixture
    def after(self, ari, events):
        """Wait for the end of a bridge: an event of another type, later than what a case has made."""
        bridge = ari.bridge()
        expect(subscribe(ari, "bridge:" + bridge), status=200)

        def wait():
            expect(ari.delete("/bridges/" + bridge), status=204)
            events.expect("BridgeDestroyed", bridge=bridge)
        return wait

    @rows("body",
          ("disallowed", {"disallowed": [{"type": "ChannelUserevent"}]}),
          ("not allowed", {"allowed": [{"type": "BridgeDestroyed"}]}),
          ("allowed and disallowed", {"allowed": [{"type": "ChannelUserevent"}, {"type": "BridgeDestroyed"}],
                                      "disallowed": [{"type": "ChannelUserevent"}]}),
          ("allowed in another case", {"allowed": [{"type": "channeluserevent"}, {"type": "BridgeDestroyed"}]}))
    def test_do_not_come_when(self, ari, events, after, body):
        """Sent if not disallowed, and allowed is empty or has it (stasis/app.c, stasis_app_event_allowed)."""
        expect(set_filter(ari, body), status=200)
        expect(ari.user_event("hidden"), status=204)
        events.expect_none("ChannelUserevent", after=after)

    @rows("body",
          ("nothing is filtered", {}), ("they are allowed", {"allowed": [{"type": "ChannelUserevent"}]}),
          ("others are disallowed", {"disallowed": [{"type": "StasisStart"}]}),
          ("disallowed in another case", {"disallowed": [{"type": "channeluserevent"}]}))
    def test_come_when(self, ari, events, body):
        """Sent if not disallowed, and allowed is empty or has it (stasis/app.c, stasis_app_event_allowed)."""
        expect(set_filter(ari, body), status=200)
        expect(ari.user_event("seen"), status=204)
        events.expect("ChannelUserevent", eventname="seen")

    def test_come_again_when_the_filter_is_gone(self, ari, events):
        """An empty object lets everything through (stasis/app.c, stasis_app_event_filter_set)."""
        expect(set_filter(ari, {"disallowed": [{"type": "ChannelUserevent"}]}), status=200)
        expect(set_filter(ari, {}), status=200)
        expect(ari.user_event("back"), status=204)
        events.expect("ChannelUserevent", eventname="back")

    def test_leave_the_subscription(self, ari, events):
        """A filter hides events, the subscription stays (res_stasis.c)."""
        bridge = ari.bridge()
        expect(subscribe(ari, "bridge:" + bridge), status=200)
        expect(set_filter(ari, {"disallowed": [{"type": "BridgeDestroyed"}]}), status=200, has={"bridge_ids": [bridge]})

    def test_may_be_those_of_the_life_cycle(self, ari, events):
        """ApplicationReplaced is filtered like any other (stasis/app.c, app_send)."""
        expect(set_filter(ari, {"disallowed": [{"type": "ApplicationReplaced"}]}), status=200)
        ari.events()
        events.send(PING, b"after")
        events.expect_frame(PONG, b"after")
        if events.waiting:
            fail(events.request, "no ApplicationReplaced", shown(events.waiting))


# --- user events ---

class TestUserEventRefusals:
    @rows("more",
          ("none", {}), ("an empty one", {"params": "application="}),
          ("a number in JSON", {"json": {"application": 5}}),
          ("a number in JSON beside a good query", {"params": "application={app}", "json": {"application": 5}}),
          ("none, with a bad source", {"params": "source=bad:x"}))
    def test_miss_the_application(self, ari, events, more):
        """400 without the application's name (ari/resource_events.c, ast_ari_events_user_event)."""
        more = jsonlib.loads(jsonlib.dumps(more).replace("{app}", ari.app))
        expect(ari.post("/events/user/x", **more), status=400, json=message("Missing parameter application"))

    @rows("more", ("a plain event", {}), ("bad variables", {"json": {"variables": "text"}}))
    def test_do_not_find_the_application_of(self, ari, more):
        """404 before variables and sources are looked at (res_stasis.c, stasis_app_user_event)."""
        expect(ari.user_event("x", **more), **NO_APPLICATION)

    def test_do_not_find_the_application_before_a_bad_source(self, ari):
        """404 before sources are looked at (res_stasis.c, stasis_app_user_event)."""
        expect(ari.post("/events/user/x", {"application": ari.app, "source": "bad:x"}), **NO_APPLICATION)

    @rows("variables", ("a text", "text"), ("a list", [1]), ("null", None), ("a number", 5))
    def test_can_not_use_variables_that_are(self, ari, events, variables):
        """variables must be an object: else 500 (ari/resource_events.c)."""
        expect(ari.user_event("x", json={"variables": variables}), status=500, json=message("Error processing request"))

    def test_tell_bad_variables_before_a_bad_source(self, ari, events):
        """500 before sources are looked at (ari/resource_events.c)."""
        expect(ari.post("/events/user/x", {"application": ari.app, "source": "bad:x"}, json={"variables": "text"}),
               status=500, json=message("Error processing request"))

    @rows("source",
          ("nothing", ""), ("no scheme", "x"), ("an unknown scheme", "bad:x"),
          ("a device state", "deviceState:Stasis:x"),
          ("a scheme in another case", "Channel:x"), ("a bad one after a good one", "bridge:{bridge},bad:x"),
          ("nothing after a good one", "bridge:{bridge},"),
          ("a bad one before a missing one", "bad:x,bridge:none-{bridge}"))
    def test_do_not_know_the_source(self, ari, events, source):
        """channel:, bridge: and endpoint: alone (res_stasis.c, stasis_app_user_event)."""
        source = source.format(bridge=ari.bridge())
        expect(ari.post("/events/user/x", {"application": ari.app, "source": source}), **BAD_SCHEME)

    @rows("source",
          ("a channel", "channel:{id}"), ("a channel without a name", "channel:"), ("a bridge", "bridge:{id}"),
          ("a technology", "endpoint:{id}"), ("an endpoint", "endpoint:Local/{id}"),
          ("a missing one before a bad one", "bridge:{id},bad:x"))
    def test_do_not_find_the_source(self, ari, events, source):
        """422, from the left (res_stasis.c, stasis_app_user_event)."""
        expect(ari.post("/events/user/x", {"application": ari.app, "source": source.format(id=ari.id("none"))}),
               status=422, json=message("Event source was not found"))

    def test_send_nothing(self, ari, events):
        """A bad source sends nothing, whatever comes before it (res_stasis.c, stasis_app_user_event)."""
        source = "bridge:%s,bad:x" % ari.bridge()
        expect(ari.post("/events/user/refused", {"application": ari.app, "source": source}), **BAD_SCHEME)
        events.expect_none("ChannelUserevent", eventname="refused")

    @rows("body", ("bad JSON", "{bad"), ("a JSON text", '"text"'), ("null", "null"))
    def test_can_not_read(self, ari, body):
        """400 first of all (res_ari.c, ast_ari_callback)."""
        expect(ari.post("/events/user/x", body=body, headers={"Content-Type": JSON_TYPE}), **UNPARSED)

    @rows("method, path, expected",
          ("a name is missing", "POST", "/events/user", {"status": 405, "headers": {"Allow": "OPTIONS"}}),
          ("a name is missing, with a slash", "POST", "/events/user/",
           {"status": 404, "json": message(SLASH % "/events/user")}),
          ("the method is another", "DELETE", "/events/user/x", {"status": 405, "headers": {"Allow": "OPTIONS,POST"}}))
    def test_are_told_when(self, ari, method, path, expected):
        """Paths as anywhere (res_ari.c, ast_ari_invoke)."""
        expect(ari.request(method, path), **expected)

    @rows("value", ("a number", 5), ("a list of a number", [1]), ("a list of null", [None]))
    def test_do_not_take_a_source_that_is(self, departure, ari, events, value):
        """Sources that are no texts are bad URIs; they end an Asterisk 16."""
        expect(ari.user_event("x", json={"source": value}), **BAD_SCHEME)

    def test_do_not_take_a_name_that_is_not_utf8(self, departure, ari, events):
        """The name is sent in an event, so it must be UTF-8; Asterisk loses the event."""
        expect(ari.user_event("%FF"), status=400, json=message("Invalid UTF-8"))


class TestUserEvent:
    def test_is_sent_to_the_application(self, ari, events):
        """ChannelUserevent with its name, and the name again among the variables (res_stasis.c)."""
        expect(ari.user_event("hello"), status=204, body=b"")
        event = events.expect("ChannelUserevent", eventname="hello", application=ari.app, timestamp=TIMESTAMP)
        wanted = {"type": "ChannelUserevent", "timestamp": str, "eventname": "hello",
                  "userevent": {"eventname": "hello"}, "asterisk_id": str, "application": ari.app}
        if not matches(event, wanted):
            fail(events.request, shown(wanted), shown(event))

    def test_has_its_members_in_order(self, compact, ari, events):
        """type, timestamp, eventname, userevent, bridge, asterisk_id, application (stasis/app.c, app_send)."""
        bridge = ari.bridge()
        expect(ari.post("/events/user/x", {"application": ari.app, "source": "bridge:" + bridge}), status=204)
        names = ["type", "timestamp", "eventname", "userevent", "bridge", "asterisk_id", "application"]
        if list(events.expect("ChannelUserevent")) != names:
            fail(events.request, " ".join(names), "another order")

    @rows("written, name",
          ("a blank", "a%20b", "a b"), ("a slash", "a%2Fb", "a/b"), ("quotes and UTF-8", "%C3%A9%22%5C", "\u00e9\"\\"))
    def test_may_have_a_name_with(self, ari, events, written, name):
        """The name is the decoded segment (res_ari.c, ast_ari_invoke)."""
        expect(ari.user_event(written), status=204)
        events.expect("ChannelUserevent", eventname=name, userevent={"eventname": name})

    @rows("more, to",
          ("a query", {"params": "application={app}"}, "{app}"),
          ("the last of two in a query", {"params": "application=x&application={app}"}, "{app}"),
          ("a form", {"form": "application={app}"}, "{app}"),
          ("JSON", {"json": {"application": "{app}"}}, "{app}"),
          ("JSON before a query", {"params": "application={app}", "json": {"application": "{app}-2"}}, "{app}-2"))
    def test_may_have_its_application_in(self, ari, more, to):
        """JSON over query over form (ari/resource_events.c)."""
        events = ari.events("%s,%s-2" % (ari.app, ari.app))
        more = jsonlib.loads(jsonlib.dumps(more).replace("{app}", ari.app))
        expect(ari.post("/events/user/x", **more), status=204)
        events.expect("ChannelUserevent", application=to.replace("{app}", ari.app))

    @rows("body, userevent",
          ("texts", '{"variables":{"b":"1","a":"2"}}', {"b": "1", "a": "2"}),
          ("values of any type", '{"variables":{"n":5,"f":1.5,"t":true,"z":null,"l":[1,{"x":[]}],"o":{}}}',
           {"n": 5, "f": 1.5, "t": True, "z": None, "l": [1, {"x": []}], "o": {}}),
          ("none", '{"variables":{}}', {}),
          ("nothing", "{}", {}),
          ("other members of the body", '{"foo":"bar"}', {}),
          ("a name of their own", '{"variables":{"eventname":"mine","z":1}}', {"z": 1}),
          ("one of them twice", '{"variables":{"a":1,"b":2,"a":3}}', {"a": 3, "b": 2}),
          ("characters of all kinds", '{"variables":{"u":"\u00e9\u20ac\U0001f600","q":"\\"\\\\/\\n\\t\\u0001"}}',
           {"u": "\u00e9\u20ac\U0001f600", "q": "\"\\/\n\t\x01"}),
          ("a list for a body", "[1]", {}))
    def test_has_variables(self, ari, events, body, userevent):
        """variables of the JSON body, with their types; eventname is always the name (res_stasis.c)."""
        expect(ari.user_event("e", body=body, headers={"Content-Type": JSON_TYPE}), status=204)
        event = events.expect("ChannelUserevent", eventname="e")
        if not matches(event["userevent"], dict(userevent, eventname="e")):
            fail(events.request, shown(dict(userevent, eventname="e")), shown(event["userevent"]))

    @rows("more", ("a query", {"params": "application={app}&variables=y"}),
          ("a form", {"params": "application={app}", "form": "variables=y"}))
    def test_has_no_variables_in(self, ari, events, more):
        """variables stand in a JSON body only (ari/resource_events.c)."""
        more = jsonlib.loads(jsonlib.dumps(more).replace("{app}", ari.app))
        expect(ari.post("/events/user/e", **more), status=204)
        event = events.expect("ChannelUserevent", eventname="e")
        if event["userevent"] != {"eventname": "e"}:
            fail(events.request, '{"eventname": "e"}', shown(event["userevent"]))

    def test_keeps_the_order_of_its_variables(self, compact, ari, events):
        """As sent, then eventname; the last of equal names at the first's place (res_stasis.c; Jansson)."""
        expect(ari.user_event("e", body='{"variables":{"b":1,"a":2,"b":3}}', headers={"Content-Type": JSON_TYPE}))
        event = events.expect("ChannelUserevent")
        if list(event["userevent"].items()) != [("b", 3), ("a", 2), ("eventname", "e")]:
            fail(events.request, "b: 3, a: 2, eventname: e", shown(event["userevent"]))

    def test_shows_a_bridge(self, ari, events):
        """source=bridge:ID adds the bridge (res_stasis.c, stasis_app_user_event)."""
        bridge = ari.bridge()
        expect(ari.post("/events/user/x", {"application": ari.app, "source": "bridge:" + bridge}), status=204)
        events.expect("ChannelUserevent", eventname="x", bridge=bridge)

    def test_shows_a_channel(self, ari, events):
        """source=channel:ID adds the channel (res_stasis.c, stasis_app_user_event)."""
        near, _ = ari.pair(events)
        expect(ari.post("/events/user/x", {"application": ari.app, "source": "channel:" + near}), status=204)
        events.expect("ChannelUserevent", eventname="x", channel=near)

    def test_shows_a_source_of_each_kind(self, ari, events):
        """A bridge and a channel together (res_stasis.c, stasis_app_user_event)."""
        near, _ = ari.pair(events, answer=False)
        bridge = ari.bridge()
        expect(ari.post("/events/user/x", {"application": ari.app, "source": "bridge:%s,channel:%s" % (bridge, near)}),
               status=204)
        events.expect("ChannelUserevent", eventname="x", bridge=bridge, channel=near)

    @rows("more, shown_bridge",
          ("the last of one kind", {"params": {"application": "{app}", "source": "bridge:{one},bridge:{two}"}},
           "{two}"),
          ("the last of a JSON list", {"params": {"application": "{app}"},
                                       "json": {"source": ["bridge:{two}", "bridge:{one}"]}}, "{one}"),
          ("that of JSON before the query", {"params": {"application": "{app}", "source": "bridge:{one}"},
                                             "json": {"source": "bridge:{two}"}}, "{two}"))
    def test_shows(self, ari, events, more, shown_bridge):
        """Of several sources of one kind the last is shown (res_stasis.c, stasis_app_user_event)."""
        names = {"{app}": ari.app, "{one}": ari.bridge("one"), "{two}": ari.bridge("two")}
        text = jsonlib.dumps([more, shown_bridge])
        for name, value in names.items():
            text = text.replace(name, value)
        more, bridge = jsonlib.loads(text)
        expect(ari.post("/events/user/x", **more), status=204)
        events.expect("ChannelUserevent", eventname="x", bridge=bridge)

    def test_of_an_empty_list_of_sources_shows_none(self, ari, events):
        """An empty JSON list is as no source (ari/resource_events.c)."""
        expect(ari.user_event("x", json={"source": []}), status=204)
        event = events.expect("ChannelUserevent", eventname="x")
        if {"channel", "bridge", "endpoint"} & set(event):
            fail(events.request, "no channel, bridge or endpoint", shown(event))

    def test_goes_to_no_subscriber_of_its_source(self, ari, events):
        """It goes to the named application only (res_stasis.c, stasis_app_user_event)."""
        bridge = ari.bridge()
        watcher = ari.events(ari.app + "-2")
        expect(subscribe(ari, "bridge:" + bridge, app=watcher.app), status=200)
        expect(ari.post("/events/user/private", {"application": ari.app, "source": "bridge:" + bridge}), status=204)
        events.expect("ChannelUserevent", eventname="private")
        watcher.expect_none("ChannelUserevent", eventname="private")

    def test_come_in_the_order_in_which_they_were_asked_for(self, ari, events):
        """One queue per application (res_stasis.c)."""
        names = ["n%d" % number for number in range(20)]
        for name in names:
            expect(ari.user_event(name), status=204)
        seen = [event["eventname"] for event in events.expect_in_order(["ChannelUserevent"] * 20)]
        if seen != names:
            fail(events.request, " ".join(names), " ".join(seen))

    def test_of_a_call_comes_after_what_the_call_before_it_made(self, ari, events):
        """What a call does itself is queued before its reply (res_stasis.c): the bridge first, then the user event."""
        expect(subscribe(ari, "bridge:"), status=200)
        ari.bridge()
        expect(ari.user_event("second"), status=204)
        mine = []
        while len(mine) < 2:
            events._read(time.monotonic() + DEADLINE_SECONDS)
            mine = [event["type"] for event in events.waiting if ari.prefix in shown(event, 5000)]
        if mine[:2] != ["BridgeCreated", "ChannelUserevent"]:
            fail(events.request, "BridgeCreated, ChannelUserevent", ", ".join(mine))


class TestEnvelope:
    def test_names_the_server_the_same_everywhere(self, ari, events):
        """asterisk_id is that of /asterisk/ping and the entity_id of /asterisk/info (stasis/app.c, app_send)."""
        entity = ari.get("/asterisk/ping").json["asterisk_id"]
        expect(ari.get("/asterisk/info"), has={"system": {"entity_id": entity}})
        ari.user_event("x")
        events.expect("ChannelUserevent", asterisk_id=entity)

    @rows("kind, names",
          ("ApplicationReplaced", "ApplicationReplaced", "type timestamp application asterisk_id"),
          ("DeviceStateChanged", "DeviceStateChanged", "type application timestamp device_state asterisk_id"),
          ("BridgeDestroyed", "BridgeDestroyed", "type timestamp bridge asterisk_id application"))
    def test_has_its_members_in_order(self, compact, ari, events, kind, names):
        """asterisk_id and application come last, but where application was inside already (stasis/app.c, app_send)."""
        device, bridge = "Stasis:" + ari.id("d"), ari.bridge()
        expect(subscribe(ari, "deviceState:" + device, "bridge:" + bridge), status=200)
        if kind == "ApplicationReplaced":
            ari.events()
        expect(ari.put("/deviceStates/" + device, {"deviceState": "BUSY"}), status=204)
        expect(ari.delete("/bridges/" + bridge), status=204)
        event = events.expect(kind, timestamp=TIMESTAMP)
        if list(event) != names.split():
            fail(events.request, names, " ".join(event))


# === (c) promises ===
#
# What the module says of itself, held to it.


def source():
    with open(ari_ref.__file__, encoding="utf-8") as file:
        return file.read()


def banners(text):
    """[(line, number, title)] of the sections."""
    return [(number, int(match.group(1)), match.group(2)) for number, line in enumerate(text.split("\n"), 1)
            for match in [re.match(r"# === (\d+)\. (.*) ===$", line)] if match]


class ArrowVisitor(ast.NodeVisitor):
    """Finds names of the module that are used in a section above the one that defines them; annotations apart."""

    def __init__(self, text):
        self.marks, self.local, self.breaches = banners(text), [], []
        tree = ast.parse(text)
        self.defined = {name: self.section(node.lineno) for node in reversed(tree.body) for name in self.names(node)}
        self.visit(tree)

    def section(self, line):
        return max([number for start, number, _ in self.marks if start <= line], default=0)

    @staticmethod
    def names(node):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            return [node.name]
        targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
        return [found.id for target in targets if target is not None for found in ast.walk(target) if isinstance(found, ast.Name)]

    def visit_FunctionDef(self, node):
        for decorator in node.decorator_list:
            self.visit(decorator)
        self.visit_Lambda(node)

    def visit_Lambda(self, node):
        own = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
        own |= {found.id for found in ast.walk(node) if isinstance(found, ast.Name) and isinstance(found.ctx, ast.Store)}
        for default in node.args.defaults + [default for default in node.args.kw_defaults if default]:
            self.visit(default)
        self.local.append(own)
        for child in node.body if isinstance(node.body, list) else [node.body]:
            self.visit(child)
        self.local.pop()

    def visit_AnnAssign(self, node):
        if node.value:
            self.visit(node.value)

    def visit_Name(self, node):
        here = self.section(node.lineno)
        if isinstance(node.ctx, ast.Load) and not any(node.id in own for own in self.local) and self.defined.get(node.id, 0) > here:
            self.breaches.append("line %d, section %d uses %s of section %d" % (node.lineno, here, node.id, self.defined[node.id]))


@in_process
class TestShape:
    """The rules that the docstring of the module states."""

    def test_a_section_uses_names_of_the_sections_above_it_only(self):
        """The arrow rule."""
        assert ArrowVisitor(source()).breaches == []

    def test_the_map_in_the_docstring_is_that_of_the_banners(self):
        """Number and title of every section, in order."""
        mapped = [(int(number), title) for number, title in re.findall(r"^ +(\d+)\. (.+?)(?:   .*)?$", ari_ref.__doc__, re.M)]
        assert mapped == [(number, re.sub(r" \(.*\)", "", title)) for _, number, title in banners(source())]

    def test_only_the_server_knows_of_sockets_and_threads(self):
        """No name of socket or threading above section 11."""
        text = source()
        start = next(line for line, number, _ in banners(text) if number == 11)
        for number, line in enumerate(text.split("\n")[:start], 1):
            assert not re.search(r"\b(socket|threading)\.[a-z]", line), "line %d: %s" % (number, line)

    def test_there_is_one_lock_and_it_is_taken_in_the_places_named(self):
        """One threading.Lock; `with self.lock` around answer(), timers, opening and ending event sockets, and closing."""
        text = source()
        assert len(re.findall(r"threading\.(?:R?Lock|Semaphore|Event)\(", text)) == 1
        taken = [node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef) for inner in ast.walk(node)
                 if isinstance(inner, ast.With) and any("lock" in ast.dump(item.context_expr) for item in inner.items)]
        assert sorted(taken) == ["close", "close_event_socket", "open_event_socket", "respond", "run_timers"]

    def test_the_standard_library_is_enough(self):
        """Every import is of the standard library."""
        if not hasattr(sys, "stdlib_module_names"):
            pytest.skip("this Python cannot list its standard library")
        tree = ast.parse(source())
        used = {name.name.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
        assert used - sys.stdlib_module_names <= {"crypt"}


@in_process
class TestDeclarations:
    """One table, from which everything else is derived."""

    def test_there_are_98_operations_on_68_paths(self):
        """The API of Asterisk 16.30.1."""
        assert (sum(map(len, ari_ref.OPERATIONS.values())), len(ari_ref.PATHS)) == (98, 68)

    def test_every_operation_is_described_where_it_is_served(self):
        """The served documents hold each operation once, under its path."""
        described = {(api["path"], operation["httpMethod"]) for name in ari_ref.RESOURCES for api in ari_ref.described_resource(name)["apis"]
                     for operation in api["operations"]}
        assert described == {(path, method) for path, methods in ari_ref.OPERATIONS.items() for method in methods}

    def test_every_type_that_is_named_is_described(self):
        """responseClass and property types are models or simple types."""
        simple = {"void", "binary", "string", "int", "long", "double", "boolean", "object", "Date", "containers"}
        models = {name: model for resource in ari_ref.RESOURCES for name, model in ari_ref.describe_models(resource).items()}
        named = {operation.response_class for methods in ari_ref.OPERATIONS.values() for operation in methods.values()}
        named |= {facts["type"] for model in models.values() for facts in model["properties"].values()}
        named |= {subtype for model in models.values() for subtype in model.get("subTypes", ())}
        assert {re.sub(r"List\[(.*)\]", r"\1", name) for name in named} - simple <= set(models) and len(models) == 70

    def test_a_declaration_that_does_not_fit_its_function_fails(self):
        """A missing argument, an unknown path or a second declaration is an error at import."""
        for method, path, handler in (("GET", "/channels", lambda stasis, more: None), ("GET", "/nowhere", lambda stasis: None)):
            handler.__name__ = "x_y"
            with pytest.raises(TypeError):
                ari_ref.operation(method, path, "void", "x")(handler)


def run(*arguments, **options):
    return subprocess.run([sys.executable, ari_ref.__file__, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20, **options)


@contextlib.contextmanager
def serving(*arguments):
    """The module as a process of its own on a free port: (process, URL)."""
    process = subprocess.Popen([sys.executable, ari_ref.__file__, "--port", "0", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process, process.stdout.readline().decode().strip()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


def get(url, auth="asterisk:asterisk", path="/asterisk/ping", method="GET"):
    """Status of one request with the library that everybody has."""
    request = urllib.request.Request(url + path, method=method, headers={"Authorization": "Basic " + base64.b64encode(auth.encode()).decode()})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLE = os.path.join(HERE, "ari.conf.sample")


@in_process
class TestCommandLine:
    """Options, signals and exit status."""

    def test_the_sample_is_a_configuration_without_problems(self):
        """ari.conf.sample as it is: three users, one of them crypted, one read-only."""
        config = ari_ref.read_config(SAMPLE)
        assert (config.warnings, [(user.name, user.is_read_only, user.is_crypted) for user in config.users.values()]) == (
            [], [("asterisk", False, False), ("reader", True, False), ("crypted", False, True)])

    def test_the_sample_names_every_option_at_its_default(self):
        """Each option that is commented out is there once, with the value that it has without it."""
        with open(SAMPLE) as file:
            shown = dict(re.findall(r"^;(\w+) = ?(.*?) +;", file.read(), re.M))
        default = ari_ref.Config()
        assert shown == {"enabled": "yes", "pretty": "no", "auth_realm": default.auth_realm, "allowed_origins": "", "channelvars": "",
                         "websocket_write_timeout": str(default.write_timeout_ms), "password_format": "plain", "read_only": "no"}

    def test_check_prints_what_takes_effect_and_no_password(self):
        """--check: exit status 0, nothing secret."""
        done = run("--check", "--config", SAMPLE)
        assert done.returncode == 0 and b"user reader: read-only" in done.stdout and b"readonly" not in done.stdout + done.stderr

    def test_check_tells_a_problem_with_file_and_line(self, tmp_path):
        """--check: exit status 1."""
        (tmp_path / "bad.conf").write_text("[general]\nnope = 1\n")
        done = run("--check", "--config", str(tmp_path / "bad.conf"))
        assert done.returncode == 1 and b"bad.conf:2: unknown option" in done.stderr

    def test_says_where_it_looked_for_a_configuration(self, tmp_path):
        """Neither file is there: one line that names both and the sample, exit status 2."""
        if os.path.exists("/etc/asterisk/ari.conf"):
            pytest.skip("this machine has an ari.conf")
        done = run(cwd=str(tmp_path))
        assert done.returncode == 2 and all(word in done.stderr for word in (b" ari.conf ", b"/etc/asterisk/ari.conf", b"ari.conf.sample"))

    def test_operations_lists_all(self):
        """--operations: one line each."""
        assert len(run("--operations").stdout.splitlines()) == 98

    def test_version_names_the_asterisk_it_is_like(self):
        """--version."""
        assert b"16.30.1" in run("--version").stdout

    def test_http_conf_that_is_not_enabled_refuses_to_start(self, tmp_path):
        """ARI needs the HTTP server."""
        (tmp_path / "http.conf").write_text("[general]\n")
        done = run("--config", SAMPLE, "--http-conf", str(tmp_path / "http.conf"))
        assert done.returncode == 1 and b"enabled" in done.stderr

    def test_a_port_in_use_is_told_in_one_line(self):
        """Exit status 1."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            done = run("--config", SAMPLE, "--port", str(taken.getsockname()[1]))
        assert done.returncode == 1 and len(done.stderr.splitlines()) == 1

    def test_ends_in_order_on_sigterm(self):
        """Event sockets get 1001, the exit status is 0."""
        with serving("--config", SAMPLE) as (process, url):
            with socket.create_connection(urlsplit(url).netloc.split(":")) as sock:
                sock.sendall(b"GET /ari/events?app=a&api_key=asterisk:asterisk HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"
                             b"Sec-WebSocket-Version: 13\r\n\r\n")
                sock.settimeout(10)
                data = sock.recv(4096)
                process.terminate()
                while b"\r\n\r\n" not in data or len(data.partition(b"\r\n\r\n")[2]) < 4:
                    more = sock.recv(4096)
                    data += more
                    assert more
            assert data.endswith(bytes.fromhex("880203e9")) and process.wait(10) == 0

    def test_reads_its_configuration_again_on_sighup(self, tmp_path):
        """A good file takes effect; a bad one is told and the old configuration stays."""
        path = tmp_path / "ari.conf"
        path.write_text(USER)
        with serving("--config", str(path)) as (process, url):
            assert get(url, "u:p") == 200
            for text, password in (("[u]\ntype = user\npassword = other\n", "other"), ("[u]\nnope\ntype = nobody\n", "other")):
                path.write_text(text)
                process.send_signal(signal.SIGHUP)
                deadline = time.monotonic() + 10
                while get(url, "u:" + password) != 200:
                    assert time.monotonic() < deadline
            path.write_text("[general]\nbad = yes\n")
            assert get(url, "u:other", "/asterisk/modules/res_ari.so", "PUT") == 409
            assert get(url, "u:other", "/asterisk/modules/res_ari.so", "PUT") == 204
            assert get(url, "u:other") == 200

    def test_serves_below_a_prefix(self):
        """--prefix stands before /ari, and nothing is served without it."""
        with serving("--config", SAMPLE, "--prefix", "/x/") as (_, url):
            assert url.endswith("/x/ari") and get(url) == 200 and get(url.replace("/x/", "/")) == 404

    def test_a_refused_configuration_serves_nothing(self, tmp_path):
        """The server runs, everything below /ari is 404."""
        (tmp_path / "bad.conf").write_text("[general]\nnope = 1\n")
        with serving("--config", str(tmp_path / "bad.conf")) as (_, url):
            assert get(url) == 404

    def test_serves_https(self, tmp_path):
        """--tls-cert and --tls-key: requests and the event socket over TLS."""
        certificate, key = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
        if not shutil.which("openssl") or subprocess.run([
                "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate, "-days", "2", "-subj",
                "/CN=localhost"], stderr=subprocess.DEVNULL).returncode:
            pytest.skip("no openssl to make a certificate with")
        context = ssl.create_default_context(cafile=certificate)
        context.check_hostname = False
        with serving("--config", SAMPLE, "--tls-cert", certificate, "--tls-key", key) as (_, url):
            assert url.startswith("https://")
            with socket.create_connection(urlsplit(url).netloc.split(":")) as plain, context.wrap_socket(plain) as sock:
                sock.settimeout(10)
                sock.sendall(b"GET /ari/events?app=a&api_key=asterisk:asterisk HTTP/1.1\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n"
                             b"Sec-WebSocket-Version: 13\r\n\r\n")
                data = b""
                while b"\r\n\r\n" not in data:
                    data += sock.recv(4096)
                sock.sendall(bytes.fromhex("898100000000" + "21"))
                assert data.startswith(b"HTTP/1.1 101") and sock.recv(4096) == bytes.fromhex("8a0121")


@in_process
class TestServer:
    """The server as a library."""

    def test_nothing_stays_when_it_is_closed(self, tmp_path):
        """No thread and no listening socket after the block, whatever was open."""
        before = threading.active_count()
        with ari_ref.Server(read_config(tmp_path, USER), port=0) as server:
            url = server.url + "/ari"
            idle = socket.create_connection(urlsplit(url).netloc.split(":"))
            assert get(url, "u:p") == 200
        deadline = time.monotonic() + 10
        while threading.active_count() > before:
            assert time.monotonic() < deadline
            threading.Event().wait(0.01)
        idle.close()
        with pytest.raises(OSError):
            socket.create_connection(urlsplit(url).netloc.split(":")).close()

    def test_more_sessions_than_the_limit_are_closed_unanswered(self, tmp_path):
        """sessionlimit: the newest is closed, the older ones go on."""
        http = ari_ref.HttpConfig()
        http.session_limit = 1
        with ari_ref.Server(read_config(tmp_path, USER), port=0, http_config=http) as server:
            where = urlsplit(server.url).netloc.split(":")
            with socket.create_connection(where) as first:
                first.sendall(b"GET / HTTP/1.1\r\n\r\n")
                assert first.recv(100).startswith(b"HTTP/1.1 404")
                with socket.create_connection(where) as second:
                    second.settimeout(10)
                    assert second.recv(100) == b""

    def test_an_idle_connection_is_closed_in_silence(self, tmp_path):
        """session_keep_alive; silence inside a head gets 400 Timeout, inside a body the JSON 400."""
        http = ari_ref.HttpConfig()
        http.keep_alive = http.inactivity = 0.2
        with ari_ref.Server(read_config(tmp_path, USER), port=0, http_config=http) as server:
            for sent, answer in ((b"", b""), (b"GET /ari", b"Timeout"), (
                    b"GET /ari/x HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{", b"Error parsing request body")):
                with socket.create_connection(urlsplit(server.url).netloc.split(":")) as sock:
                    sock.settimeout(10)
                    sock.sendall(sent)
                    data = b""
                    while True:
                        more = sock.recv(4096)
                        if not more:
                            break
                        data += more
                assert answer in data and bool(answer) == bool(data)

    def test_a_fault_of_the_module_is_logged_and_answered(self, tmp_path, monkeypatch, caplog):
        """A bug is a 500 with one traceback in the log; the next request is served."""
        with ari_ref.Server(read_config(tmp_path, USER), port=0) as server:
            monkeypatch.setattr(server.stasis, "timestamp", lambda: 1 / 0)
            assert get(server.url + "/ari", "u:p") == 500
            monkeypatch.undo()
            assert get(server.url + "/ari", "u:p") == 200
        assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]


@in_process
class TestReadme:
    """The README's commands work as they stand."""

    def commands(self):
        with open(os.path.join(HERE, "README"), encoding="utf-8") as file:
            return re.findall(r"^    ((?:.*\\\n)*.+)$", file.read(), re.M)

    def test_the_first_call(self):
        """Listen, originate, answer, hang up: the first event is the one shown."""
        if not shutil.which("curl"):
            pytest.skip("no curl")
        curls = [line for line in self.commands() if line.startswith("curl")]
        with serving("--config", SAMPLE) as (_, url):
            listen, *calls = [line.replace("http://127.0.0.1:8088/ari", url) for line in curls]
            listener = subprocess.Popen(["sh", "-c", "exec " + listen], stdout=subprocess.PIPE)
            deadline = time.monotonic() + 10
            while get(url, path="/applications/hello") != 200:
                assert time.monotonic() < deadline
            shown = [line for line in self.commands() if line.startswith("{")]
            reply = subprocess.run(["sh", "-c", calls[0]], stdout=subprocess.PIPE).stdout.decode()
            assert reply.startswith(shown[0].rstrip("."))
            first = b""
            while b'"dialstring"' not in first:
                first += listener.stdout.read(1)
            expected = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+", "T", shown[1].partition('"dialstring"')[0])
            assert re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+", "T", first.decode("latin-1")).endswith(expected + '"dialstring"')
            for call in calls[1:]:
                assert subprocess.run(["sh", "-c", call], stdout=subprocess.PIPE).returncode == 0
            assert get(url, path="/channels/call-1") == 404
            listener.terminate()
            listener.wait()
            listener.stdout.close()

    def test_the_commands_of_make(self):
        """make help lists every target that the README names."""
        with open(os.path.join(HERE, "Makefile"), encoding="utf-8") as file:
            targets = set(re.findall(r"^(\w+):", file.read(), re.M))
        assert {line.split()[1] for line in self.commands() if line.startswith("make ")} <= targets

    def test_the_library_as_shown(self, tmp_path):
        """The lines of Python run as they stand."""
        with open(os.path.join(HERE, "README"), encoding="utf-8") as file:
            block = re.search(r"^    import ari_ref\n(?:    .*\n)+", file.read(), re.M).group()
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(block)], cwd=HERE, stdout=subprocess.PIPE, timeout=20)
        assert re.match(rb"http://127.0.0.1:\d+", done.stdout)
