#!/usr/bin/env python3
"""Tests of ari_ref.py, and a conformance suite for any server that speaks Asterisk 16's REST Interface (ARI).

    pytest test_ari_ref.py                                                         the module, started in this process
    ARI_URL=http://host:8088/ari ARI_AUTH=user:password pytest test_ari_ref.py     any other server, over the wire
    python3 test_ari_ref.py --contract       an ari.conf that fulfils the contract, and what else there is to it
    python3 test_ari_ref.py --list           the specification, a sentence a line
    python3 test_ari_ref.py --export         the cases that are told as text, as JSON, for a runner in any language

Three parts:

    (a) rules         parts of the module that need no socket; skipped with ARI_URL
    (b) conformance   what a client sees on the wire, seen on Asterisk 16.30.1; knows nothing of the module
    (c) promises      what the module promises about itself; skipped with ARI_URL

A class is a section, a name is a sentence, the words in brackets are a row of its table.  The docstring of a case is the rule
and its source, a C file and function of Asterisk 16.30.1 or an RFC.  The run ends with the counts per chapter, what was
missing, and the name of the server.  Needs Python 3.8 or later and pytest, nothing else.

The contract: what a server under test offers is the table CONTRACT, each with the variable that says it otherwise.  Before
the first case a table tells what of it is missing and for how many cases; those are skipped, unless a variable promises it.

    ARI_EXACT=1        also the cases graded "exact": order and case of header fields, white space of JSON and pages
    ARI_STRICT=1       also the departures: where ari_ref refuses what Asterisk takes (some of them crash an Asterisk)
    ARI_DEADLINE=5     seconds that a reply or an event may take

The server need not be empty: a case makes ids of its own, asserts only about those, and cleans up.  What stays: applications
that subscribed to everything, which ARI can not remove.  Left open: what only a long wait shows (an idle connection after
15 s, half a request after 30, half a frame after 9).  The first two are always on for the module itself.

The export is {"contract": {name: variable, value and what that is}, "lines": {type: format}, "cases": [...]}; a case has chapter,
section, sentence, rule (with its source), setting (what it begins with, in words), needs (names of the contract; departure: a
server that departs from Asterisk as ari_ref does) and steps.  A runner gives every case an application and connections of its own
(an Asterisk remembers the last fault of a connection), opens an event socket for it, takes the steps in order, deletes what it
made, and fails at the first step that is not so; the key that comes first in a step tells its kind:

    {"request": METHOD, "path": "/channels", "status": 200}   a request below /ari (behind ~: not below it), the path as it stands,
                                   in UTF-8, with "json", "form" or "body" (of this "type") if they are there, "as" user:password
                                   (or nobody) instead of the writer.  Its reply has this status, this "phrase", a body that "is"
                                   this JSON, "has" these members, is "empty", or is an HTML "page" with this sentence in a <p>;
                                   "eventually": asked again until it is so
    {"with": NAME, "value": text}  the next request has this field, too; several of one name are several fields
    {"header": NAME, "value": text or null}     the reply before has this field, or not
    {"await": TYPE, "has": JSON}   an event of this type and these members comes, or waits: the first such is taken, and others
                                   wait on; its "member" "is" this
    {"never": TYPE, "has": JSON}, {"silence": ID}     no such event, no event about this, waits when a user event of our own has
                                   come, which is sent to the (first) application of the socket that is read
    {"about": ID, "lines": [...]}  the next events about a channel (or its peer), bridge, playback or recording of this id or name,
                                   or whose target_uri is it, are these: the type and, of "lines", {a[b]} for members (soft: " soft"
                                   or nothing; lists joined by commas; what is not there nothing), trimmed; behind " @ " the
                                   dialplan of the channel (or peer) as context,exten,priority app_name(app_data); a line that ends
                                   with ... begins so
    {"forget": [ID, ...]}          what waits on the socket that is read about these (about all without one) does not count
    {"open": APPS, "all": false}   one more event socket (with subscribeAll), which is read from here on; {"read": APPS}: that one
                                   is again; {"close": true}: the one that is read is closed with 1000, until the server answers
    {"pass": seconds}              wait so long; {"hasten": seconds}: nothing, or have the server's time pass faster
    {"name": N, "value": text}     {N} stands for this from here on; with "member": [keys] for that of the last reply or event,
                                   percent-encoded in a path

In all texts, names of members too, $word (letters, digits, _) is an id of this case's own, {app} its application, {root} the path
of ARI, {context} the contract's dialplan context for {app}, {other} the contract's value of that name.  In JSON "<text>" is any
text, "<timestamp>" and "<uuid>" such a one, "<...>" one that the regular expression ... matches as a whole, "<nothing>" a member
that is not there; a list that begins with "<any order>" has the rest of it in any order; an id or name stands for the object that
has it; what "is" has no other members, what "has" may, at any depth.
"""
from __future__ import annotations

import ast
import atexit
import base64
import bisect
import collections
import contextlib
import datetime
import dis
import errno
import functools
import gc
import hashlib
import http.client
import io
import itertools
import json as jsonlib
import logging
import math
import os
import pty
import py_compile
import random
import re
import select
import shlex
import shutil
import signal
import socket
import socketserver
import ssl
import struct
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
import traceback
import types
import urllib.error
import urllib.request
import uuid
import warnings
import wave
import weakref
from urllib.parse import quote, quote_plus, urlsplit

import pytest

IN_PROCESS = "ARI_URL" not in os.environ and __name__ != "__main__"
in_process = pytest.mark.skipif(not IN_PROCESS, reason="about the module itself, not about a server on the wire")


# What a server under test offers, by what a case asks for: the variable that says it otherwise, the value, and what that is.
CONTRACT = {
    "writer": ("ARI_AUTH", "asterisk:asterisk", "a user who may write"),
    "read_only": ("ARI_READ_ONLY_AUTH", "reader:readonly", "a user with read_only = yes"),
    "crypted": ("ARI_CRYPTED_AUTH", "crypted:s3cret", "a user with password_format = crypt"),
    "no_password": ("ARI_NO_PASSWORD_USER", "nopass", "a user without a password"),
    "allowed_origin": ("ARI_ALLOWED_ORIGIN", "http://good.example", "an origin of allowed_origins"),
    "refused_origin": ("ARI_REFUSED_ORIGIN", "http://evil.example", "an origin that is not allowed"),
    "realm": ("ARI_REALM", "Asterisk REST Interface", "the realm"),
    "channelvars": ("ARI_CHANNELVARS", "FOO,BAR", "the names of channelvars"),
    "channelvar": ("", "FOO", "the first of those names"),
    "channelvar": ("", "FOO", "the first of those names"),
    "context": ("ARI_CONTEXT", "stasis-{app}", "a dialplan context that runs Stasis({app}) at 100,1, its h NoOp()"),
    "dialplan": ("", "default", "a dialplan context with answer: Answer(), Wait(30), and app: Stasis(theapp,one,two)"),
    "sound": ("ARI_SOUND", "ref-one", "a sound of one second"),
    "long_sound": ("ARI_LONG_SOUND", "ref-three", "a sound of three seconds"),
    "no_sound": ("", "sound:no-such-sound", "a medium that does not exist (ari_ref: --sounds)"),
    "formats": ("", "g719 g723 g729 ilbc siren7 siren14 vox g726-32 h263 h264", "the modules of more formats of recordings"),
    "console": ("", "console", "a log channel that is the console"),
    "module": ("", "app_echo.so", "a module that nobody uses, loaded"),
    "mailbox_objects": ("", "res_mwi_external/mailboxes", "a configuration class of mailboxes"),
    "compact": ("", "no", "pretty = no"),
    "pretty": ("ARI_PRETTY_URL", "", "a second server with pretty = yes"),
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


def rows(names, *table):
    """Parametrise a case: a row is (sentence, value, ...), and the sentence is its id."""
    return pytest.mark.parametrize(names, [pytest.param(*row[1:], id=row[0]) for row in table])


# === (a) rules ===
#
# What the wire cannot show, or not in time: files of configuration, crypt(3), readers fed byte by byte, timers moved by hand, files
# on the disk.  One table each: a sentence, what goes in, what comes out.

if IN_PROCESS:
    import ari_ref


def read_config(tmp_path, text, name="ari.conf"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ari_ref.read_config(str(path))


USER = "[u]\ntype = user\npassword = p\n"


@in_process
class TestConfiguration:
    """ari.conf (main/config.c; main/config_options.c; res/ari/config.c)."""

    def test_has_defaults(self):
        found = ari_ref.parse_config(USER.encode())
        assert (found.is_enabled, found.is_pretty, found.allowed_origins, found.channelvars) == (True, False, frozenset(), None)
        assert (found.auth_realm, found.write_timeout_ms) == ("Asterisk REST Interface", 100)

    @rows("text, attribute, value",
        ("enabled is yes for a true word in any case", "enabled = oN", "is_enabled", True),
        ("and no for any other", "enabled = perhaps", "is_enabled", False),
        ("pretty takes a true word", "pretty = t", "is_pretty", True),
        ("allowed_origins is split at commas and not trimmed", "allowed_origins = a , b,*", "allowed_origins", {"a ", " b", "*"}),
        ("channelvars may be empty", "channelvars =", "channelvars", []),
        ("channelvars are split outside quotes and brackets, once each, with their blanks",
         'channelvars = A,"B,C",F(x,y),A,d\\,e,x[1,2],r"s,t", B', "channelvars",
         ["A", "B,C", "F(x,y)", "d,e", "x[1,2]", "rs,t", " B"]),
        ("websocket_write_timeout takes a number", "websocket_write_timeout = 2147483647", "write_timeout_ms", 2147483647),
        ("names of options are compared in any case", "PRETTY = yes", "is_pretty", True),
        ("the last of equal options counts", "pretty = no\npretty = yes", "is_pretty", True),
        ("an arrow is an equals sign", "pretty => yes", "is_pretty", True))
    def test_means_that(self, tmp_path, text, attribute, value):
        """Of [general], whose name is compared in any case."""
        assert getattr(read_config(tmp_path, "[GENERAL] ignored\n%s\n%s" % (text, USER)), attribute) == value

    @rows("text, realm",
        ("a value may be empty", "auth_realm =", ""),
        ("a realm is cut to 79 bytes", "auth_realm = " + "r" * 80, "r" * 79),
        ("a value keeps its quotes", 'auth_realm = "x y"', '"x y"'),
        ("a comment runs to the end of the line", "auth_realm = a ; b", "a"),
        ("an escaped semicolon is kept", "auth_realm = a\\;b", "a;b"),
        ("a block comment may stand within a line", "auth_realm = a;-- x --;b", "ab"),
        ("block comments nest and span lines", "auth_realm = a\n;-- x\n;-- y\n--;\nauth_realm = b\n--;", "a"),
        ("three dashes make an ordinary comment", ";--- x\nauth_realm = a", "a"),
        ("an unterminated block comment loses the rest", "auth_realm = a\n;-- x\nauth_realm = b", "a"),
        ("+= adds to the last such option with its blanks", "auth_realm = one\nauth_realm += two", "one two"),
        ("+= without an earlier option is plain", "auth_realm += two", "two"),
        ("a line without an equals sign is skipped", "nonsense\nauth_realm = a", "a"),
        ("an option without a name is skipped", " = x\nauth_realm = a", "a"),
        ("an unknown directive is skipped", "#nonsense x\nauth_realm = a", "a"),
        ("#exec is skipped", "#exec /bin/true\nauth_realm = a", "a"),
        ("#tryinclude of a missing file is nothing", "#tryinclude none\nauth_realm = a", "a"),
        ("a line over 8191 bytes is skipped", "auth_realm = a\nauth_realm = " + "x" * 8192, "a"))
    def test_is_read_so_that(self, tmp_path, text, realm):
        """As auth_realm shows."""
        assert read_config(tmp_path, USER + "[general]\n" + text + "\n").auth_realm == realm

    NO_TIMEOUT = "websocket_write_timeout must be a whole number from 1 to 2147483647, not "

    @rows("text, line, problem",
        ("a zero write timeout", "[general]\nwebsocket_write_timeout = 0", 2, NO_TIMEOUT + "'0'"),
        ("one with a unit", "[general]\nwebsocket_write_timeout = 100ms", 2, NO_TIMEOUT + "'100ms'"),
        ("one over 31 bits", "[general]\nwebsocket_write_timeout = 2147483648", 2, NO_TIMEOUT + "'2147483648'"),
        ("an unknown option of general", "[general]\nnope = 1", 2, "unknown option 'nope'"),
        ("an unknown option of a user", USER + "nope = 1", 4, "unknown option 'nope'"),
        ("a section without a type", "[u]\npassword = p", 1, "[u] needs type = user"),
        ("a first type that is no user, whatever follows", "[u]\ntype = peer\ntype = user", 2, "[u] needs type = user"),
        ("a bad value that a later line corrects", USER + "password_format = md5\npassword_format = plain", 4,
         "password_format must be plain or crypt, not 'md5'"),
        ("an option before the first section", "pretty = yes", 1, "an option before the first [section]"),
        ("an unclosed bracket", "[general", 1, "a '[' without its ']'"),
        ("an unclosed parenthesis", "[a](b", 1, "a '(' without its ')'"),
        ("an unknown template", "[a](b)", 1, "no section [b] before this line"),
        ("a continued section that is not there", "[a](+)", 1, "no section [a] before this line"),
        ("a continued section that is a template", "[a](!)\ntype = user\n[a](+)", 3, "no section [a] before this line"),
        ("a missing include", "[general]\n#include none", 2, "the included file none is not there"),
        ("an include whose quote does not end", "[general]\n#include \"ari.conf", 2, 'the included file "ari.conf is not there'))
    def test_refuses(self, tmp_path, text, line, problem):
        """The whole file, and tells line and problem."""
        with pytest.raises(ari_ref.ConfigError) as caught:
            read_config(tmp_path, text + "\n")
        assert caught.value.args == ("%s:%d" % (tmp_path / "ari.conf", line), problem)

    @rows("text, user",
        ("a password keeps colons and inner blanks", USER + "password = a: b", "a: b"),
        ("a password is cut to 255 bytes", USER + "password = " + "x" * 300, "x" * 255),
        ("a crypted password", USER + "password_format = Crypt", "p crypted"),
        ("a read-only user", USER + "read_only = yes", "p read-only"),
        ("sections of one user are merged", USER + "[U]\ntype = user\nread_only = 1", "p read-only"),
        ("a template is inherited, own options win", "[t](!)\ntype = user\npassword = t\nread_only = yes\n[u](t)\npassword = o",
         "o read-only"),
        ("templates are copied in order", "[a](!)\ntype=user\npassword=a\n[b](!)\npassword=b\n[u](a,b)", "b"),
        ("a template may inherit", "[a](!)\ntype=user\n[b](!,a)\npassword=b\n[u](b)", "b"),
        ("an empty base is the first section", USER + "[v]()\nread_only = yes\n[u](+)\nread_only = 1", "p read-only"),
        ("+= goes on from the last value, in place of the first that is like it",
         "[u]\npassword = a\ntype = user\npassword = b\npassword = A\npassword += c", "A"),
        ("a section is continued", USER + "[v]\ntype=user\n[U](+)\npassword=q", "q"),
        ("a backslash before a name is dropped", USER + "\\password = q", "q"),
        ("a byte order mark is skipped", b"\xef\xbb\xbf" + USER.encode(), "p"),
        ("lines may end with CR LF", USER.replace("\n", "\r\n"), "p"),
        ("a fault costs the rest of an included file only", USER + "#include fault.inc\nread_only = yes", "kept read-only"),
        ("what an included file misses is such a fault", USER + "#include missing.inc", "p read-only"),
        ("it goes on in the section opened last, by whatever file", USER + "#include other.inc\n#include only.inc", "p"),
        ("its own sections end with it", USER + '#include "other.inc"\nread_only = yes', "p read-only"),
        ("blanks of any kind stand before its name", USER + "#include\t only.inc", "p read-only"),
        ("its name ends at a NUL", USER + "#include only.inc\0*/", "p read-only"),
        ("a pattern is all its files, in order", USER + "#include <o*.inc>", "p read-only"))
    def test_makes_users_so_that(self, tmp_path, text, user):
        """Password, format and read_only of the user u, with what is included (config_text_file_load)."""
        for name, part in (("fault", "password = kept\n[v](none)\npassword = lost"), ("other", "[v]\ntype = user\npassword = v"),
                           ("missing", "read_only = yes\n#include none\npassword = lost"), ("only", "read_only = yes")):
            (tmp_path / (name + ".inc")).write_text(part + "\n")
        found = read_config(tmp_path, text).users["u"]
        assert found.password + " crypted" * found.is_crypted + " read-only" * found.is_read_only == user

    def test_is_read_from_text_alone(self):
        """What is included is asked for by its pattern, and read as a file of that name."""
        included = {"a*.inc": [("a.inc", b"password = p\n"), ("b.inc", b"nonsense\n")]}
        config = ari_ref.parse_config(b"[u]\ntype = user\n#include a*.inc\n", "x.conf", included.get)
        assert (config.users["u"].password, config.warnings) == ("p", ["b.inc:1: no 'name = value' here, ignored"])

    @rows("text, words",
        ("a user without a password", "[u]\ntype = user", "has no password"),
        ("no users at all", "", "no users"), ("a line too long", "x" * 9000, "over 8191 bytes"),
        ("a comment without end", ";-- x", "block comment"),
        ("a file that includes itself more than ten times", USER + "#include ari.conf", "nested deeper"))
    def test_warns_of(self, tmp_path, text, words):
        assert any(words in warning for warning in read_config(tmp_path, text + "\n").warnings)


@in_process
class TestHttpConf:
    """http.conf (main/http.c, __ast_http_load)."""

    def read(self, text):
        return ari_ref.parse_http_config(b"[general]\n" + text.encode())

    def test_is_shown_by_the_status_page(self):
        """Who it says it is, and where it listens."""
        config = self.read("enabled = yes\nbindaddr = ::1\nbindport = 8200\ntlsenable = yes\nservername = <me>\nprefix = pbx\n")
        page = ari_ref.status_page("GET", config).content[2].decode()
        assert "<h1>&lt;me&gt;</h1>" in page
        assert "<p>ARI is served below /pbx/ari; listening, as configured, on http ::1:8200, https ::1:8089.</p>" in page

    def test_has_defaults(self):
        found = self.read("")
        assert (found.is_enabled, found.has_status) == (False, True)
        assert (found.session_limit, found.keep_alive, found.inactivity) == (100, 15, 30)

    @rows("text, attribute, value",
        ("enabled", "enabled = yes", "is_enabled", True),
        ("a status that is not told", "enable_status = no", "has_status", False),
        ("a prefix", "prefix = x", "prefix", "/x"), ("a prefix as it stands there", "prefix = /x/", "prefix", "//x/"),
        ("no prefix", "prefix =", "prefix", ""), ("a server's name", "servername = S", "server_name", "S"),
        ("no name", "servername =", "server_name", ""), ("so many sessions", "sessionlimit = 3", "session_limit", 3),
        ("milliseconds of silence in a request", "session_inactivity = 1500", "inactivity", 1.5),
        ("and between requests", "session_keep_alive = 500", "keep_alive", 0.5),
        ("no silence between them", "session_keep_alive = 0", "keep_alive", 0.0),
        ("a certificate", "tlscertfile = c", "tls_certificate", "c"),
        ("one by its old name", "sslcert = c", "tls_certificate", "c"), ("the highest port", "bindport = 65535", "port", 65535),
        ("port 0, which is the default", "bindport = 0", "port", 8088))
    def test_takes(self, text, attribute, value):
        """Times in seconds."""
        config = self.read(text)
        assert getattr(config, attribute) == value and not any("bindport" in warning for warning in config.warnings)

    @rows("text, attribute, value",
        ("a port that is no number", "bindport = eighty", "port", 8088), ("a port that is none", "bindport = 65536", "port", 8088),
        ("a bad port behind a good one", "bindport = 99\nbindport = -1", "port", 8088),
        ("no sessions", "sessionlimit = 0", "session_limit", 100), ("no silence", "session_inactivity = 0", "inactivity", 30.0),
        ("less than none", "session_keep_alive = -1", "keep_alive", 15.0))
    def test_takes_the_default_for(self, text, attribute, value):
        """What cannot be, which is told with its line."""
        config = self.read(text)
        assert getattr(config, attribute) == value and "http.conf:%d: " % (2 + text.count("\n")) in config.warnings[0]

    @rows("text, listeners",
        ("HTTP by address and port", "enabled=yes\nbindaddr=::\nbindport=80", [("::", 80, False)]),
        ("HTTP where its address names the port", "enabled=yes\nbindaddr=h:80\nbindport=81", [("h", 80, False)]),
        ("HTTP where its port is no C number", "enabled=yes\nbindaddr=h:\u00b2", [("h", 8088, False)]),
        ("HTTP in brackets", "enabled=yes\nbindaddr=[::1]:80", [("::1", 80, False)]),
        ("nothing without an address", "enabled=yes", []), ("nothing where it is off", "bindaddr=h", []),
        ("HTTPS beside HTTP", "enabled=yes\nbindaddr=h\ntlsenable=yes", [("h", 8088, False), ("h", 8089, True)]),
        ("HTTPS at its own place", "enabled=yes\nbindaddr=h\ntlsenable=yes\ntlsbindaddr=[::]:99",
         [("h", 8088, False), ("::", 99, True)]),
        ("HTTPS alone", "tlsenable=yes\ntlsbindaddr=h", [("h", 8089, True)]),
        ("HTTPS nowhere", "bindaddr=h\ntlsenable=yes", []))
    def test_listens_to(self, text, listeners):
        """HTTP where it is enabled and has an address, HTTPS at its own or beside it."""
        assert self.read(text).listeners() == listeners

    @rows("text, words",
        ("an option without effect", "enablestatic = yes", "http.conf:2: option 'enablestatic' has no effect"),
        ("another section", "[post_mappings]", "http.conf:2: [post_mappings] ignored"),
        ("a prefix with a slash", "prefix = /x", "a slash of its own"), ("no address", "enabled = yes", "no bindaddr"))
    def test_warns_of(self, text, words):
        assert any(words in warning for warning in self.read(text).warnings)


def plan_of(text):
    """The DialplanConfig of a context [c], where " / " stands between the steps of an extension."""
    return ari_ref.parse_extensions(("[c]\n" + text.replace(" / ", "\n same => n,")).encode())


@in_process
class TestExtensionsConf:
    """extensions.conf (pbx_config.c) and what it says (pbx.c; pbx_variables.c; ast_expr2.y)."""

    @rows("text, steps",
        ("a step by its number", "exten => 1,1,Answer()", {1: ("Answer", "")}),
        ("an application in any case, without brackets", "exten = 1,1,noop", {1: ("NoOp", "")}),
        ("the next one", "exten => 1,1,NoOp(a)\nexten => 1,n,NoOp(b)", {1: ("NoOp", "a"), 2: ("NoOp", "b")}),
        ("the same one", "exten => 1,5,NoOp(a) / NoOp(b)\n same => n+10,NoOp(c)",
         {5: ("NoOp", "a"), 6: ("NoOp", "b"), 17: ("NoOp", "c")}),
        ("a label", "exten => 1,1(here),NoOp(a,b(c))", {1: ("NoOp", "a,b(c)")}))
    def test_has(self, text, steps):
        """EXTEN,PRIORITY(LABEL),APPLICATION(DATA)."""
        assert plan_of(text).contexts["c"].extensions["1"].steps == steps

    @rows("exten, found",
        ("itself", "12", "12"), ("a narrow place before a wide one", "13", "_1N"), ("any digit", "11", "_1X"),
        ("one more of anything", "199", "_1."), ("nothing more", "1", "_1!"), ("one of a class", "b5", "_[a-c]X"),
        ("none of it", "d5", None), ("dashes that do not count", "2-5", "_X-X"), ("an included context", "zz", "zz"))
    def test_finds(self, exten, found):
        """The exact one, then patterns, the narrowest first, then included contexts (pbx.c, ext_cmp1)."""
        config = plan_of("exten => %s,1,NoOp()\ninclude => d\ninclude => c\n[d]\nexten => zz,1,NoOp()\ninclude => c\n"
                         % ",1,NoOp()\nexten => ".join(("_1.", "_1!", "_1X", "_1N", "12", "_[a-c]X", "_X-X")))
        assert next((extension.pattern for extension in config.matching("c", exten)), None) == found

    @rows("text, words",
        ("an application that is not known", "exten => 1,1,Dial(SIP/x)", "the application Dial is not known"),
        ("what is no step", "exten => 1", "no EXTEN,PRIORITY"), ("a hint", "exten => 1,hint,SIP/x", "no EXTEN,PRIORITY"),
        ("a step of nothing", "same => n,NoOp()", "no EXTEN,PRIORITY"),
        ("an include at some times", "include => d,9:00-17:00,mon-fri",
         "the times of an include have no effect here, it always counts"),
        ("another line", "switch => Realtime", "switch has no effect"))
    def test_warns_of(self, text, words):
        assert any("extensions.conf:2: " + words in warning for warning in plan_of(text).warnings)

    def test_globals_know_those_before_them(self):
        assert ari_ref.parse_extensions(b"[globals]\nA = one\nB = ${A}x${C}\n").globals == {"A": "one", "B": "onex"}

    @rows("text, value",
        ("the last characters", "${EXTEN:-2}", "45"), ("some", "${EXTEN:1:2}", "23"), ("all but the last", "${EXTEN:1:-1}", "234"),
        ("none", "${EXTEN:10}", ""), ("more than there are", "${EXTEN:-9}", "12345"), ("what is not set", "${NOSUCH}x", "x"),
        ("a name made of names", "${${V}TEN}", "12345"), ("a function", "${CALLERID(num)}y", "7y"),
        ("what is no variable", "a$b{c}[d]", "a$b{c}[d]"), ("equal texts", '$["a" = "a"]', "1"),
        ("texts of digits", '$["2" > "10"]', "1"), ("numbers", "$[2 > 10]", "0"), ("no number", '$["b" > "a"]', "1"),
        ("and", "$[1 & 0]", "0"), ("two comparisons", '$["x" = "x" & 1 = 1]', "1"), ("or", "$[0 | 5]", "5"),
        ("nothing", "$[]", ""), ("a text", '$["a"]', '"a"'), ("a sum", "$[2+3]", "5"),
        ("a product before a sum", "$[2+3*4]", "14"), ("a difference from the left", "$[10-2-3]", "5"),
        ("a negative number", "$[-2 + 1]", "-1"), ("a division by nothing", "$[1/0]", "1/0"),
        ("a variable in it", "$[${EXTEN} = 12345]x", "1x"), ("what does not end", "${EXTEN", "12345"),
        ("a place that is there", "${DIALPLAN_EXISTS(c,12345,1)}", "1"), ("a place that is not", "${DIALPLAN_EXISTS(c,9)}", "0"),
        ("a context", "${DIALPLAN_EXISTS(c)}", "1"))
    def test_replaces(self, text, value):
        """Variables, functions and expressions, inner ones first."""
        stasis = stasis_with("demo")
        stasis.dialplan.contexts.update(plan_of("exten => 12345,1,NoOp()").contexts)
        channel = originate(stasis)
        channel.place, channel.caller = ari_ref.Place("c", "12345", 1), ("", "7")
        channel.set_variable("V", "EX")
        assert ari_ref.substitute(channel, text) == value

    def run(self, text):
        """What a far leg is told in 10 s of a dialplan, `EXTEN,PRIORITY what; ...`, and the model behind it."""
        stasis, lines = stasis_with("demo"), []
        stasis.dialplan.contexts.update(plan_of(text).contexts)
        near = ari_ref.new_pair(stasis, "1@c", "near", "far")
        near.far_leg.follow(stasis.applications["demo"])
        ari_ref.originate(near, "", None, {}, "demo", "", None, 30)
        stasis.advance(1010.0)
        forms = {"ChannelVarset": "{variable}={value}", "ChannelDialplan": "{dialplan_app}({dialplan_app_data})",
                 "ChannelStateChange": "{channel[state]}", "ChannelDestroyed": "destroyed {cause}"}
        for event, _ in stasis.outbox:
            if event["type"] in forms and event["channel"]["id"] == "far":
                lines.append(("{channel[dialplan][exten]},{channel[dialplan][priority]} " + forms[event["type"]]).format(**event))
        return "; ".join(lines), stasis

    @rows("text, lines",
        ("set and go on where that says",
         'exten => 1,1,Set(F=${EXTEN}x) / GotoIf($["${F}" = "1x"]?yes:no)\n same => n(no),NoOp(no)\n same => n(yes),Hangup(17)',
         "1,1 Set(F=1x); 1,1 F=1x; 1,2 GotoIf(1?yes:no); 1,4 Hangup(17); 1,4 destroyed 17"),
        ("go on at another place", "exten => 1,1,Goto(2,lab)\nexten => 2,1,NoOp()\n same => n(lab),NoOp(x)",
         "1,1 Goto(2,lab); 2,2 NoOp(x); 2,3 destroyed 0"),
        ("go on where a condition does not say", "exten => 1,1,GotoIf(0?5) / NoOp()",
         "1,1 GotoIf(0?5); 1,2 NoOp(); 1,3 destroyed 0"),
        ("end where there is no such label", "exten => 1,1,Goto(nope)", "1,1 Goto(nope); 1,1 destroyed 0"),
        ("end where there is nothing", "exten => 1,1,Goto(none,s,1)", "1,1 Goto(none,s,1); s,1 destroyed 0"),
        ("answer and play", "exten => 1,1,Playback(a&b) / Hangup()",
         "1,1 Playback(a&b); 1,1 Up; 1,1 PLAYBACKSTATUS=SUCCESS; 1,2 Hangup(); 1,2 destroyed 16"),
        ("play without an answer", "exten => 1,1,Playback(a,noanswer)",
         "1,1 Playback(a,noanswer); 1,1 PLAYBACKSTATUS=SUCCESS; 1,2 destroyed 0"),
        ("wait", "exten => 1,1,Wait(0.5) / NoOp()", "1,1 Wait(0.5); 1,2 NoOp(); 1,3 destroyed 0"),
        ("pass over what is not known", "exten => 1,1,Dial(SIP/x) / NoOp()", "1,2 NoOp(); 1,3 destroyed 0"),
        ("end with extension h", "exten => 1,1,Hangup()\nexten => h,1,Set(E=${EXTEN}) / NoOp()",
         "1,1 Hangup(); h,1 Set(E=h); h,1 E=h; h,2 NoOp(); h,3 destroyed 16"))
    def test_steps(self, text, lines):
        """What is told, step by step (pbx.c, __ast_pbx_run)."""
        told, stasis = self.run(text)
        assert told == lines and not stasis.channels and stasis.next_due() is None

    @rows("text",
        ("in extension h", "exten => 1,1,NoOp()\nexten => h,1,Goto(h,1)"),
        ("by a wait that is over at once", "exten => 1,1,Wait(0.000000001) / Goto(1,1)"))
    def test_that_goes_round_ends(self, text):
        """Nothing is held up by a dialplan that takes so many steps within a second (MAX_STEPS)."""
        told, stasis = self.run(text)
        assert told.count("; ") <= ari_ref.MAX_STEPS + 2 and not stasis.channels

    def test_that_takes_its_time_may_be_long(self):
        """So many steps within a second count, not in all."""
        steps = " / NoOp()" * 600
        assert self.run("exten => 1,1,NoOp()" + steps + " / Wait(2)" + steps)[0].endswith("; 1,1203 destroyed 0")

    def test_is_asked_for_by_the_command_line(self, tmp_path):
        """--extensions FILE, or extensions.conf in --etc; a label leads into it, and a global variable is there."""
        (tmp_path / "ari.conf").write_text("[asterisk]\ntype = user\npassword = asterisk\n")
        (tmp_path / "extensions.conf").write_text("[globals]\nG = g\n[c]\nexten => 1,1,Wait(9)\n same => n(lab),Wait(9)\n")
        shown = {"context": "c", "exten": "1", "priority": 1, "app_name": "Wait", "app_data": "9"}
        place = {"context": "c", "extension": "1", "label": "lab"}
        for options in (["--etc", str(tmp_path)], ["--config", SAMPLE, "--extensions", str(tmp_path / "extensions.conf")]):
            with serving(*options) as (_, url), Client(ServerUnderTest(url), "plan") as client:
                expect(client.post("/channels", {"endpoint": "Local/1@c", "app": "x", "channelId": "n"}), status=200)
                expect(client.get("/channels/n%3B2"), status=200, has={"dialplan": shown})
                expect(client.post("/channels", dict(place, endpoint="Local/1@c")), status=200)
                expect(client.post("/channels", dict(place, endpoint="Local/1@c", label="nope")), status=404)
                expect(client.get("/asterisk/variable", {"variable": "G"}), status=200, json={"value": "g"})
                _, far = client.pair(client.events())
                expect(client.post("/channels/%s/continue" % far, place), status=204)
                client.eventually("/channels/" + far, has={"dialplan": dict(shown, priority=2)})


SHA512 = "$6$saltsalt$As4wrv0kZlfch1du9WeH7qhskyLriQWySXrZzynnvi46nFnNxjdpl6ksRegrrKexvhIa/Iny8S8uF3fVWTMuC1"


def with_users(**users):
    """A Config with users by their stored passwords; those that begin with $ are hashes, and so is a star."""
    return ari_ref.parse_config("".join("[%s]\ntype = user\npassword = %s\npassword_format = %s\n" % (
        name, stored, "crypt" if stored[:1] in ("$", "*") else "plain") for name, stored in users.items()).encode())


@in_process
class TestPasswords:
    """Plain ones, and crypt(3) through libcrypt (res/ari/config.c)."""

    @rows("stored, word, matches",
        ("of SHA-512", SHA512, "s3cret", True), ("of SHA-512, when it is another", SHA512, "S3cret", False),
        ("of MD5", "$1$abcdefgh$7.vq19w/w3Vm.hk1FOA7Q/", "s3cret", True),
        ("of SHA-256, though the salt is short", "$5$xyz$Qd4LTTao5ntAOJqYPTMD6IN3DD9AoFQJvrjn71XNUgC", "s3cret", True),
        ("that is no hash at all", "$plain", "$plain", False), ("that is a star", "*", "*", False),
        ("with a NUL in the word", SHA512, "a\0b", False), ("that is plain", "p", "p", True),
        ("that is plain, when it is another", "p", "q", False), ("that is empty", "", "", False))
    def test_matches(self, stored, word, matches):
        """Twice, and whether or not other users have hashes; a hash never matches itself."""
        for config in (with_users(u=stored), with_users(u=stored, c=SHA512)):
            assert [ari_ref.password_matches("U", word, config) is config.users["u"] for _ in range(2)] == [matches, matches]

    def test_of_nobody_matches_nothing(self):
        assert not ari_ref.password_matches("x", "", with_users(c=SHA512))
        assert not ari_ref.password_matches("x", "x", ari_ref.Config())

    @rows("name",
        ("a crypted user", "cheap"), ("another", "dear"), ("a plain user", "plain"), ("one without a password", "none"),
        ("nobody", "x"))
    def test_refused_costs_one_hash_of_each_kind(self, monkeypatch, name):
        """Whoever it names, and nothing when it is tried again: the time does not tell who exists (departure 8)."""
        config, done = with_users(cheap="$1$x$y", dear="$6$rounds=9000$s$x", plain="p", none=""), []
        monkeypatch.setattr(ari_ref, "hash_password", lambda word, setting: done.append(ari_ref.hash_kind(setting)) or "")
        for _ in range(2):
            assert not ari_ref.password_matches(name, "wrong", config) and sorted(done) == ["$1$", "$6$rounds=9000$"]

    def test_refused_is_remembered_of_so_many(self, monkeypatch):
        """Names with words, of which there is no end."""
        config = with_users(c=SHA512)
        monkeypatch.setattr(ari_ref, "hash_password", lambda word, setting: "")
        for number in range(ari_ref.MAX_REFUSED + 1):
            assert not ari_ref.password_matches("x", str(number), config) and 0 < len(config.refused) <= ari_ref.MAX_REFUSED

    @rows("stored, kind",
        ("a salt", "$6$salt$x", "$6$"), ("a cost", "$2b$12$x", "$2b$12$"), ("parameters", "$y$j9T$salt$x", "$y$j9T$"),
        ("tradition", "abJnggxhB/yWI", ""), ("no hash", "secret", None))
    def test_has_a_kind_by(self, stored, kind):
        """What tells how long crypt(3) takes with it."""
        assert ari_ref.hash_kind(stored) == kind


@in_process
class TestNumbersAndText:
    """Numbers of C, and JSON by the byte."""

    @rows("word, value",
        ("decimal", "16", 16), ("hexadecimal", "-0X1f", -31), ("octal", "020", 16), ("a plus", "+7", 7), ("zero", "0", 0),
        ("no octal", "09", None), ("something behind it", "16ms", None), ("nothing", "", None),
        ("digits that are not ASCII", "\u0665", None))
    def test_of_an_option_are_read_as_strtol_does(self, word, value):
        """Whole integers as C writes them, with base 0."""
        assert ari_ref.c_literal(word) == value

    def test_of_a_parameter_are_read_as_atoi_does(self):
        """Blanks, a sign, decimal digits; the rest is ignored."""
        words = ("abc", "--1", "", "9.9", "0x10", " \t-3x", "4294967297")
        assert [ari_ref.c_integer(word) for word in words] == [0, 0, 0, 9, 0, -3, 1]

    @rows("given, sent",
        ("a real number", "1.5", "1.5"), ("one that is no binary fraction", "0.1", "0.1"), ("a large one", "1e22", "1e+22"),
        ("one with an exponent", "1e16", "1e+16"), ("a small one", "-2.5E-10", "-2.5e-10"), ("a whole one", "2.0", "2.0"),
        ("a surrogate pair", '"\\ud83d\\ude00"', '"\U0001F600"'))
    def test_of_json_come_back(self, given, sent):
        """A real number as the shortest text that means it, as Python shows it (departure 12)."""
        assert ari_ref.dump_json(ari_ref.load_json(b"[%s]" % given.encode())) == "[%s]" % sent

    def test_of_a_timestamp(self):
        """Milliseconds, and the local offset without a colon."""
        assert re.fullmatch(r"2001-09-0\dT\d\d:\d\d:40\.125[+-]\d{4}", ari_ref.ari_timestamp(1000000000.125))


GET, POST = b"GET /ari/x HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n"


def bytewise(data):
    """What comes in one byte at a time, and then nothing more."""
    bytes_left = iter([data[at:at + 1] for at in range(len(data))])

    def read(seconds):
        for byte in bytes_left:
            return byte
        raise ari_ref.Gone
    return ari_ref.Incoming(b"", read, 30.0, lambda: 0.0)


@in_process
class TestHead:
    """Requests as they come in (main/http.c): what TestRequestLine and the chapters behind it do not show."""

    @rows("data, fault",
        ("half a line", b"GET /ari", "Timeout"), ("no blank line yet", GET + b"A: b\r\n", "Timeout"),
        ("an endless first line", b"G" * 4095, "Request line too long"),
        ("an endless header line", GET + b"a" * 4095, "Header line too long"),
        ("more than a hundred fields", GET + b"a: b\r\n" * 101, "Too many headers"),
        ("a length over 31 bits", GET + b"Content-Length: 2147483648\r\n\r\n", "Invalid Content-Length in request!"),
        ("an endless size of a chunk", POST + b"1" * 4095, "Error parsing request body"),
        ("a chunk over 31 bits", POST + b"80000000\r\n", "Error parsing request body"),
        ("a chunk that ends late", POST + b"3\r\nabcX", "Error parsing request body"))
    def test_is_judged_at_once(self, data, fault):
        """What has come so far, whole or byte by byte, and no further."""
        for incoming in (ari_ref.Incoming(data), bytewise(data)):
            with pytest.raises((ari_ref.HttpError, ari_ref.AriError)) as caught:
                incoming.read_body(incoming.read_head())
            assert fault in caught.value.args

    @rows("kind, body", ("of use", b"json", b"0123456789de"), ("of no use", b"text", b""))
    def test_is_the_same_byte_by_byte(self, kind, body):
        """Odd lines, upper case, extensions and trailers in it; what follows a body is left, also when nobody wanted it."""
        data = (b"  get /a?b HTTP/9 x\nno colon\r\nEmpty:\r\nTransfer-Encoding: chunked\nContent-Type: application/" + kind +
                b"\r\n \t \r\n00A\r\n0123456789\r\n2;x=y\r\nde\r\n0\r\nX: y\r\n\r\nnext")
        for incoming in (ari_ref.Incoming(data), bytewise(data)):
            head_ = incoming.read_head()
            assert (head_.method, head_.target, len(head_.fields), incoming.read_body(head_)) == ("GET", "/a?b", 2, body)
            assert incoming.skip_body() and b"next".startswith(incoming.rest())

    def test_has_thirty_seconds_in_all(self):
        """However its bytes trickle in (departure 9)."""
        seconds = itertools.count()
        incoming = ari_ref.Incoming(b"G", lambda limit: b"x", 30.0, lambda: float(next(seconds)))
        with pytest.raises(ari_ref.HttpError, match="Timeout"):
            incoming.read_head()
        assert len(incoming.rest()) == 30

    def test_is_read_once(self):
        """A reader is asked once a piece, and no byte behind the head is looked at."""
        limits = []
        incoming = ari_ref.Incoming(b"", lambda limit: limits.append(limit) or GET + b"\r\nrest", 30.0, lambda: 0.0)
        assert incoming.read_head().target == "/ari/x" and (incoming.rest(), limits) == (b"rest", [30.0])

    @rows("origin, is_echoed",
        ("of any kind", "http://a", True), ("but not with a bare CR", "http://a\rX-B: c", False),
        ("nor with DEL", "http://a\x7f", False))
    def test_has_its_origin_echoed(self, origin, is_echoed):
        """allowed_origins = *, yet no control character comes back (departure 4; RFC 9110 5.5)."""
        config = ari_ref.Config()
        config.allowed_origins = frozenset("*")
        assert bool(ari_ref.cors_headers(ari_ref.Head("GET", "/ari", [("Origin", origin)]), config)) is is_echoed


@in_process
class TestFrameCodec:
    """RFC 6455 as bytes in and bytes out: what TestFrames and TestFramesByTheRfc do not show."""

    @rows("data, messages, output, code",
        ("a ping is answered between fragments of a message", "01810000000041" "898137fa213d16" "80810000000042", [(1, b"AB")],
         "8a0121", None),
        ("a text is unmasked as in 5.7", "818537fa213d7f9f4d5158", [(1, b"Hello")], "", None),
        ("a binary message of 126 bytes", "82fe007e00000000" + "00" * 126, [(2, bytes(126))], "", None),
        ("whatever follows a close is not looked at", "8882000000000bb8ffff", [], "88020bb8", 3000),
        ("16 bits of length where 7 would do", "81fe007d00000000", [], "880203ea", 1002),
        ("64 bits of length where 16 would do", "81ff000000000000ffff00000000", [], "880203ea", 1002),
        ("of two faults the protocol error is told", "c1ff000000000001000000000000", [], "880203ea", 1002),
        ("a fragment is judged before its end", "01830000000041ff", [], "880203ef", 1007))
    def test_receives(self, data, messages, output, code):
        """The same whether the bytes come at once or one by one; one close frame of two bytes for what no client may send."""
        whole, pieces = ari_ref.FrameParser(), ari_ref.FrameParser()
        got = [message for at in range(0, len(data), 2) for message in pieces.receive(bytes.fromhex(data[at:at + 2]))]
        assert whole.receive(bytes.fromhex(data)) == got == messages and whole.close_code == pieces.close_code == code
        assert whole.to_send().hex() == pieces.to_send().hex() == output and whole.to_send() == b""

    @rows("data, messages, code", ("what a server sends", "810548656c6c6f", [(1, b"Hello")], None),
          ("but nothing masked", "818537fa213d7f9f4d5158", [], 1002))
    def test_receives_as_a_client(self, data, messages, code):
        """A server does not mask (RFC 6455 5.1)."""
        parser = ari_ref.FrameParser(is_client=True)
        assert parser.receive(bytes.fromhex(data)) == messages and parser.close_code == code

    @rows("size, head_",
        ("125 bytes", 125, "817d"), ("126", 126, "817e007e"), ("65,535", 65535, "817effff"),
        ("65,536", 65536, "817f0000000000010000"))
    def test_sends_the_shortest_length_of(self, size, head_):
        """Unmasked and final (RFC 6455 5.2)."""
        assert ari_ref.encode_frame(1, bytes(size)).hex()[:len(head_)] == head_

    def test_knows_when_a_frame_is_under_way(self):
        """From its first byte to its last."""
        connection, states = ari_ref.FrameParser(), []
        for byte in bytes.fromhex("818137fa213d7f"):
            connection.receive(bytes([byte]))
            states.append(connection.is_inside_frame)
        assert states == [True] * 6 + [False]

    def test_says_a_close_of_its_own_once(self):
        """And nothing is heard after it."""
        connection = ari_ref.FrameParser()
        connection.close(1001)
        connection.close(1000)
        assert connection.to_send().hex() == "880203e9" and connection.receive(b"\x89\x80\0\0\0\0") == [] and connection.is_closed


class Hearer:
    """Stands in for an event socket."""


def stasis_with(*names, sounds=None, recordings=None):
    """A model at time 1000 with applications that are heard, its ids counted."""
    ids = itertools.count()
    stasis = ari_ref.Stasis(lambda: "id-%d" % next(ids), 1000.0, sounds or ari_ref.Sounds(), recordings or ari_ref.Recordings())
    stasis.open_applications(Hearer(), list(names), False)
    return stasis


def told(stasis):
    """The types of the events since the last look, with the leg they are about."""
    events, stasis.outbox = [event for event, _ in stasis.outbox], []
    legs = [event.get("channel") or event.get("peer") for event in events]
    return [event["type"] + (" " + leg["id"] if leg else "") for event, leg in zip(events, legs)]


def originate(stasis, seconds=30, name=""):
    """The near leg of a call that nobody has answered."""
    near = ari_ref.new_pair(stasis, "100@stasis-demo", "near" + name, "far" + name)
    ari_ref.originate(near, "", None, {}, "demo", "", None, seconds)
    return near


def call_of(stasis, name=""):
    """The two legs of a call that is answered."""
    near = originate(stasis, None, name)
    near.far_leg.answer()
    return near, near.far_leg


def begin_playback(target, *media, name="p"):
    """A playback at the end of a queue."""
    playback = ari_ref.Playback(target, name, list(media), "en", 0, 3000)
    target.queue.add(playback)
    return playback


def begin_recording(target, name="r", form="wav", seconds=0, silence=0, beeps=False):
    """A recording at the end of a queue, which # ends."""
    begun = ari_ref.LiveRecording(target, name, form, seconds, silence, "fail", "#", beeps)
    target.queue.add(begun)
    return begun


def let_continue(channel, context="default"):
    """An order to go on in the dialplan, at the end of its queue."""
    stay = channel.stay
    stay.queue.do(lambda: stay.continue_at(ari_ref.Place(context, "answer", 1)))


def bridge_of(stasis, *channels, name="b"):
    bridge = ari_ref.Bridge(stasis, name, "", False, "talker")
    for channel in channels:
        bridge.add(channel)
    return bridge


def asked(stasis, method, target):
    """What a request to the model comes to, without a server."""
    request = ari_ref.Request(ari_ref.Head(method, "/ari/" + target, []))
    request.pairs = ari_ref.parse_pairs(request.head.query)
    return ari_ref.answer(ari_ref.resolve(request, ari_ref.Config()), stasis)


def by_tenths(stasis, acts, script):
    """Move the time on by tenths of a second and act where the script, `second word, ...`, says so; yield each second."""
    acts_at = [act.split(" ", 1) for act in script.split(", ") if act]
    for tenth in range(150):
        stasis.advance(1000 + tenth / 10)
        for when, word in acts_at:
            if float(when) == tenth / 10:
                acts[word]()
        yield tenth / 10


@in_process
class TestModel:
    """The model is moved by hand: no thread, no clock, no pause."""

    def test_does_what_is_due_at_its_own_time_and_in_order(self):
        """advance() over several timers runs each at its own moment, and never goes back."""
        stasis, seen = stasis_with(), []
        for seconds in (3, 1, 2, 1):
            ari_ref.Timer(stasis).set(seconds, lambda seconds=seconds: seen.append((seconds, stasis.now)))
        cancelled, replaced = ari_ref.Timer(stasis), ari_ref.Timer(stasis)
        cancelled.set(2, lambda: seen.append("never"))
        cancelled.cancel()
        replaced.set(2, lambda: seen.append("never"))
        replaced.set(4, lambda: seen.append((4, stasis.now)))
        for moment in (1010.0, 1004.0):
            stasis.advance(moment)
        assert seen == [(1, 1001.0), (1, 1001.0), (2, 1002.0), (3, 1003.0), (4, 1004.0)] and stasis.now == 1010.0

    def test_ends_an_unanswered_call_when_its_time_is_over(self):
        stasis = stasis_with("demo")
        originate(stasis, 5)
        assert stasis.next_due() == 1005.0
        stasis.advance(1005.0)
        assert not stasis.channels and stasis.next_due() is None

    @rows("script, events",
        ("medium by medium", "", "0.0 Started, 1.0 Continuing, 1.0 Started, 2.0 Finished"),
        ("without its pauses", "0.5 pause, 10.1 unpause",
         "0.0 Started, 10.1 Started, 10.6 Continuing, 10.6 Started, 11.6 Finished"))
    def test_times_a_playback(self, script, events):
        """Of two sounds of one second."""
        stasis, seen = stasis_with("demo"), []
        _, far = call_of(stasis)
        told(stasis)
        playback = begin_playback(far, "sound:a", "sound:b")
        for second in by_tenths(stasis, {word: functools.partial(playback.control, word) for word in ("pause", "unpause")}, script):
            seen += ["%s %s" % (second, event[len("Playback"):]) for event in told(stasis)]
        assert ", ".join(seen) == events and playback.state == "done" and not stasis.playbacks

    def test_lets_any_number_of_playbacks_wait_and_fail(self):
        """A thousand media that do not exist, behind one that does, fail one after the other."""
        stasis = stasis_with("demo", sounds=ari_ref.Sounds({"en": {"one": {"wav": 1000.0}}}))
        _, far = call_of(stasis)
        for number in range(1001):
            begin_playback(far, "sound:none" if number else "sound:one", name="p%d" % number)
        told(stasis)
        stasis.advance(1001.0)
        assert told(stasis) == ["PlaybackFinished"] + ["PlaybackStarted", "PlaybackFinished"] * 1000 and not stasis.playbacks

    @rows("given, script, second, durations, file_ms",
        ("is over after 4 s in which it hears nothing", {"hears": False}, "", 4.0, (0,), 0),
        ("counts what it hears and not its pauses", {}, "1.0 pause, 6.0 unpause, 7.5 stop", 7.5, (2,), 2500),
        ("ends in the second after its longest duration", {"seconds": 2, "at": 0.25}, "", 3.0, (2,), 2750),
        ("lets its limit wait for its pauses, in whole seconds", {"seconds": 2}, "1.0 pause, 11.0 unpause", 13.0, (3,), 3000),
        ("takes every command that changes it for a frame, muting once", {"hears": False},
         "3.0 mute, 6.0 pause, 9.0 mute, 9.9 pause", 10.0, (0,), 0),
        ("ends with one second of silence", {"silence": 1}, "", 1.0, (1, 1, 0), 200),
        ("counts two seconds of it but for the last", {"silence": 2}, "", 2.0, (1, 1, 0), 200),
        ("keeps its file when it is stopped", {"silence": 9}, "3.5 stop", 3.5, (0, 0, 0), 3500),
        ("has its file trimmed by a digit", {"silence": 9}, "2.5 #", 2.5, (0, 0, 0), 200),
        ("counts silence in a pause", {"silence": 2}, "1.0 pause", 2.0, (0, 0, 0), 0),
        ("begins its silence anew behind a pause", {"silence": 9}, "2.5 pause, 3.5 unpause, 5.0 stop", 5.0, (3, 4, -1), 4000),
        ("begins behind its beep, and hears no digit and no stop before", {"beeps": True}, "0.5 #, 0.6 stop, 3.0 #", 3.0, (2,),
         2000),
        ("ends without a duration when its channel ends in the beep", {"beeps": True}, "0.3 hang up", 0.3, (), 0))
    def test_times_a_recording_so_that_it(self, given, script, second, durations, file_ms):
        """When it is over, its durations (talking and silence where silence counts), its file (app.c, __ast_play_and_record)."""
        stasis, given = stasis_with("demo"), dict(given)
        near, far = call_of(stasis)
        near.set_silence(given.pop("hears", True))
        stasis.advance(1000 + given.pop("at", 0))
        begun = begin_recording(far, form="sln", **given)
        assert far.sends_audio() is given.get("beeps", False)
        acts = {"stop": begun.stop, "#": lambda: far.hear_digit("#", 100), "hang up": far.hang_up, "mute": lambda: begun.mute(True),
                "pause": lambda: begun.pause(True), "unpause": lambda: begun.pause(False)}
        over = next(now for now in by_tenths(stasis, acts, script) if begun.state == "done")
        shown = next(event["recording"] for event, _ in stasis.outbox if event["type"] == "RecordingFinished")
        names = [name for name in ("duration", "talking_duration", "silence_duration") if name in shown]
        assert (over, tuple(shown[name] for name in names), stasis.recordings.get("r")) == (second, durations, ("sln", file_ms))
        assert not stasis.live_recordings and not far.sends_audio()

    def test_has_a_bridge_left_before_the_application(self):
        """One that was joined behind a continue; nobody who has gone stays in the bridge (res_stasis.c, stasis_app_exec)."""
        stasis = stasis_with("demo")
        _, far = call_of(stasis)
        begin_playback(far, "sound:a")
        let_continue(far)
        begin_playback(far, "sound:a", name="q")
        stasis.advance(1001.0)
        bridge = bridge_of(stasis, far)
        told(stasis)
        stasis.advance(1002.0)
        events = [event for event in told(stasis) if event.split()[0] in ("ChannelLeftBridge", "StasisEnd")]
        assert (events, bridge.members, far.bridge) == (["ChannelLeftBridge far", "StasisEnd far"], [], None)

    def test_ends_recordings_that_are_due_together_one_after_the_other(self, half_a_stack):
        """Each end changes who hears whom; 150 of one bridge, and as many commands behind them, end all the same."""
        stasis = stasis_with("demo")
        bridge = bridge_of(stasis)
        for number in range(150):
            begun = ari_ref.LiveRecording(bridge, "b%d" % number, "wav", 1, 0, "fail", "", False)
            ari_ref.Internal(bridge, "Recorder/ARI").queue.add(begun)
            near, _ = call_of(stasis, str(number))
            begin_recording(near, "r%d" % number)
            near.queue.do(functools.partial(near.set_silence, True))
            let_continue(near, "none")
        stasis.advance(1010.0)
        assert not (stasis.notes or bridge.members or stasis.live_recordings or stasis.channels or stasis.channels_by_name)

    def test_refuses_a_channel_that_leaves_while_another_of_the_list_joins(self):
        """The joining makes a softmix, which ends a recording, and behind it waits a continue: 422, nothing worse."""
        stasis = stasis_with("demo")
        (a, _), (b, far), (c, _) = (call_of(stasis, name) for name in "abc")
        bridge_of(stasis, b, c)
        begin_recording(far, seconds=1)
        let_continue(far)
        stasis.advance(1003.0)
        with pytest.raises(ari_ref.AriError) as caught:
            asked(stasis, "POST", "bridges/b/addChannel?channel=neara,farb")
        assert caught.value.status == 422 and stasis.notes == []

    def test_generates_an_id_that_nobody_has(self):
        stasis = stasis_with()
        ari_ref.new_pair(stasis, "1@stasis-demo", "1000.0", "1000.1")
        assert (stasis.unique_id(), stasis.unique_id()) == ("1000.2", "1000.3")

    def test_finds_a_channel_whose_id_spells_the_name_of_another(self):
        """Whichever of the two ends first."""
        stasis = stasis_with("demo")
        first = ari_ref.new_pair(stasis, "1@stasis-demo", "Local/1@stasis-demo-00000001;1", "f")
        ari_ref.new_pair(stasis, "1@stasis-demo", "second", "g").end()
        assert stasis.find_channel(first.id) is first

    def test_fails_what_is_queued_for_an_announcer_that_has_gone(self):
        """The last channel of the bridge may leave while the announcer joins."""
        stasis = stasis_with("demo")
        near = originate(stasis)
        bridge = bridge_of(stasis, near.far_leg)
        queue = bridge.join_announcer().queue
        near.end()
        playback = ari_ref.Playback(bridge, "p", ["tone:ring"], "en", 0, 3000)
        queue.add(playback)
        assert (playback.state, bridge.members, stasis.playbacks) == ("failed", [], {})

    def test_ends_silence_with_the_stay_that_asked_for_it(self):
        """control_silence_stop_now() behind StasisEnd (res_stasis.c, stasis_app_exec)."""
        _, far = call_of(stasis_with("demo"))
        far.set_silence(True)
        let_continue(far)
        assert far.app[0] == "Wait" and not far.is_silence_on

    def test_passes_a_digit_on_once(self):
        """Though two pairs between two bridges make a ring."""
        stasis = stasis_with("demo")
        (near, far), (other, other_far) = (call_of(stasis, name) for name in "ab")
        bridge_of(stasis, near, other)
        bridge_of(stasis, far, other_far, name="c")
        told(stasis)
        near.queue.add(ari_ref.Digits(near, "5", 0, 100, 100, 0))
        stasis.advance(1001.0)
        assert sorted(told(stasis)) == ["ChannelDtmfReceived fara", "ChannelDtmfReceived nearb"]


def wav_of(path, frames):
    """A wav by other hands: 8 kHz, 16 bits, one channel."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(frames)


@in_process
class TestSoundFiles:
    """Which sounds exist and how long they last, by their files."""

    @pytest.fixture
    def sounds(self, tmp_path):
        """en/deep/one.wav of 1 s, en/half.ulaw of 0.5 s, fr/only.gsm of 1 s, en/odd.g722, and a description."""
        (tmp_path / "en" / "deep").mkdir(parents=True)
        (tmp_path / "fr").mkdir()
        wav_of(tmp_path / "en" / "deep" / "one.wav", bytes(16000))
        for name, data in (("en/half.ulaw", bytes(4000)), ("en/odd.g722", b"x"), ("en/notes.txt", b""),
                           ("fr/only.gsm", bytes(1650)), ("fr/said.ulaw", bytes(800)), ("en/core-sounds-en.txt", b"; comment\nhalf: Half a second.\nno colon\n")):
            (tmp_path / name).write_bytes(data)
        return ari_ref.read_sounds(str(tmp_path))

    @rows("name, language, length",
        ("a wav by its size without the header", "deep/one", "en", 1000.0),
        ("another language falls back to English", "half", "de", 500.0),
        ("a region falls back to its language", "only", "fr_CA", 1000.0),
        ("a format that does not tell lasts a second", "odd", "en", 1000.0),
        ("what is not there does not exist", "none", "en", None),
        ("what is there in French only does not exist in English", "only", "en", None))
    def test_length(self, sounds, name, language, length):
        """In ms, None for a sound that does not exist."""
        assert sounds.length_ms(name, language) == length

    @rows("name, language, found",
        ("by its language", "half", "en", ("en/half.ulaw", "ulaw")),
        ("by the language of a region", "half", "en_GB", ("en/half.ulaw", "ulaw")),
        ("in French by that of a region", "said", "fr_CA", ("fr/said.ulaw", "ulaw")),
        ("but not in a format that none can speak", "only", "fr", None), ("in English else", "deep/one", "fr", ("en/deep/one.wav", "wav")),
        ("but not where a telephone can not speak it", "odd", "en", None), ("nor where there is none", "none", "en", None))
    def test_are_found_to_be_said(self, sounds, name, language, found):
        """The path and the suffix of a file."""
        assert sounds.file(name, language) == (found and (os.path.join(sounds.folder, found[0]), found[1]))

    def test_list(self, sounds):
        """Every file is listed with its codec; a description goes with its sound."""
        assert sorted(sounds.listed()) == [
            ("deep/one", "en", "slin"), ("half", "en", "ulaw"), ("odd", "en", "g722"), ("only", "fr", "gsm"), ("said", "fr", "ulaw")]
        assert sounds.texts == {"half": "Half a second."}
        assert ari_ref.sounds_json(stasis_with(sounds=sounds), "en", "ulaw") == {
            "half": {"id": "half", "text": "Half a second.", "formats": [{"language": "en", "format": "ulaw"}]}}

    @rows("uri, language, outcome",
        ("a number succeeds at once in another language", "number:7", "fr", ("succeeds", 0)),
        ("and in a region of English", "number:7", "en_GB", ("succeeds", 0)),
        ("in English it fails", "number:7", "en", ("fails", 0)), ("digits succeed at once", "digits:7", "en", ("succeeds", 0)))
    def test_where_no_digit_has_a_sound(self, sounds, uri, language, outcome):
        assert ari_ref.sound_of(stasis_with(sounds=sounds), uri, language)[:2] == outcome

    def test_languages_with_a_grammar_of_their_own_pass_over_a_digit_without_sound(self, sounds):
        """And no others do (say.c)."""
        known = "cs cz da de es fr ge gr he hu is it ja ka mx nl no pl pt ru se th tw ur vi zh".split()
        outcomes = {name: ari_ref.sound_of(stasis_with(sounds=sounds), "number:7", name)[0] for name in [*known, "sv", "xcs"]}
        assert outcomes == {**dict.fromkeys(known, "succeeds"), "sv": "fails", "xcs": "fails"}

    def test_without_files_every_sound_lasts_a_second(self):
        """But one without a name; a number is one for each digit."""
        assert ari_ref.Sounds().length_ms("anything", "xx") == 1000.0 and ari_ref.Sounds().length_ms("", "en") is None
        assert ari_ref.sound_of(stasis_with(), "number:12", "en")[:2] == ("succeeds", 2000.0)


@in_process
class TestRecordingFiles:
    """Stored recordings in memory and in a folder."""

    @pytest.fixture
    def files(self, tmp_path):
        return ari_ref.RecordingFiles(str(tmp_path))

    @pytest.fixture
    def client(self, tmp_path):
        """A client of a server that keeps its recordings in tmp_path / "in", with a call for its application."""
        with ari_ref.Server(users={"asterisk": "asterisk"}, port=0, recordings=str(tmp_path / "in")) as server:
            with Client(ServerUnderTest(server.url, server), "files") as client:
                client.heard = client.events()
                _, client.call = client.pair(client.heard)
                yield client

    def record(self, client, name, status=201, **more):
        expect(client.post("/channels/%s/record" % client.call, dict(more, name=name, format="wav")), status=status)

    @rows("suffix, milliseconds, size, byte", *((row[0], *row) for row in (
        ("wav", 1000, 16044, 0), ("wav16", 500, 16044, 0), ("sln", 250, 4000, 0), ("sln16", 1000, 32000, 0), ("alaw", 10, 80, 0xD5),
        ("ulaw", 20_000, 160_000, 0xFF), ("gsm", 1000, 0, 0), ("g722", 1000, 0, 0))))
    def test_a_file_is_as_long_as_its_silence(self, files, tmp_path, suffix, milliseconds, size, byte):
        """Of what the format calls silence, in memory and in a folder; what cannot be made is an empty file."""
        files.begin("a/b", suffix, False)
        files.end("a/b", suffix, ari_ref.audio_bytes(suffix, milliseconds))
        data = (tmp_path / "a" / ("b." + suffix)).read_bytes()
        in_memory = ari_ref.RecordingFiles(None).content("a", suffix, ari_ref.audio_bytes(suffix, milliseconds), False)
        assert len(data) == size == in_memory.size and b"".join(in_memory.pieces) == data and set(data[44:]) <= {byte}
        if suffix == "wav":
            with wave.open(io.BytesIO(data)) as file:
                assert (file.getframerate(), file.getnframes()) == (8000, milliseconds * 8)

    def test_a_file_that_nobody_reads_is_closed(self, files, tmp_path):
        """At once, as its reader may have gone."""
        (tmp_path / "r.ulaw").write_bytes(b"sound")
        with warnings.catch_warnings(record=True) as left_open:
            warnings.simplefilter("always")
            assert files.content("r", "ulaw", 0, False).size == 5
        assert left_open == []

    @rows("between, size", ("its sound", b"", 32000), ("and chunks of other programs before it", b"LIST\x04\0\0\0INFO", 32012))
    def test_what_was_there_stays(self, files, tmp_path, between, size):
        """A wav that is added to, whose head tells the new length."""
        path, sound = tmp_path / "r.wav", b"\1\2" * 8000
        wav_of(path, sound)
        whole = path.read_bytes()
        path.write_bytes(whole[:36] + between + whole[36:])
        files.begin("r", "wav", True)
        files.end("r", "wav", size)
        with wave.open(str(path)) as file:
            assert file.getnframes() == 16000 and file.readframes(16000) == sound + bytes(16000)

    def test_an_hour_is_made_at_once(self, files, tmp_path):
        """1.38 GB of zeros take no room, in the file or in memory (a sparse file, and pieces)."""
        size = ari_ref.audio_bytes("sln192", 3_600_000)
        files.begin("r", "sln192", False)
        files.end("r", "sln192", size)
        assert (tmp_path / "r.sln192").stat().st_size == size and (tmp_path / "r.sln192").stat().st_blocks < 1000
        in_memory = ari_ref.RecordingFiles(None).content("r", "sln192", size, False)
        assert max(map(len, itertools.islice(in_memory.pieces, 3))) <= ari_ref.PIECE_BYTES

    def test_a_file_of_4_GiB_ends_the_recording(self):
        """A wav can say no more; RecordingFinished after 37 hours."""
        stasis, longest = stasis_with("demo"), ari_ref.longest_ms("wav")
        near, far = call_of(stasis)
        near.set_silence(True)
        begun = begin_recording(far)
        stasis.advance(1000.0 + longest / 1000 - 1)
        assert begun.state == "recording" and ari_ref.audio_bytes("wav", longest) + 44 < 2**32
        stasis.advance(1000.0 + longest / 1000 + 1)
        assert begun.state == "done"

    def test_what_is_no_plain_file_is_none(self, files, tmp_path):
        """A pipe that lies there is not listed, not read and not written, and nobody waits for it."""
        os.mkfifo(str(tmp_path / "r.wav"))
        assert files.found() == {}
        for action, *arguments in (
                (files.begin, "r", "wav", False), (files.content, "r", "wav", 0, False), (files.copy, "r", "c", "wav")):
            with pytest.raises(OSError):
                action(*arguments)

    def test_a_sound_that_cannot_be_added_to_stays(self, files, tmp_path, monkeypatch):
        """The file is cut back to what it was; of a new one nothing stays."""
        def fails(suffix, size):
            yield b"\xff" * 10_000
            raise OSError(28, "No space left on device")
        monkeypatch.setattr(ari_ref, "silence", fails)
        (tmp_path / "old.ulaw").write_bytes(b"sound")
        for name in ("old", "new"):
            files.begin(name, "ulaw", True)
            with pytest.raises(OSError):
                files.end(name, "ulaw", 100_000)
        assert files.found() == {"old": {"ulaw": 0.625}} and (tmp_path / "old.ulaw").read_bytes() == b"sound"

    def test_a_file_begins_with_its_head(self, files, tmp_path, monkeypatch):
        """Also one that was to be added to, and is gone; one that cannot be begun leaves nothing."""
        files.begin("gone", "wav", True)
        files.end("gone", "wav", 16000)
        with wave.open(str(tmp_path / "gone.wav")) as file:
            assert file.getnframes() == 8000
        def fails(*arguments, **options):
            raise OSError(28, "No space left on device")
        monkeypatch.setattr(ari_ref, "file_head", fails)
        with pytest.raises(OSError):
            files.begin("new", "wav", False)
        assert os.listdir(str(tmp_path)) == ["gone.wav"]

    def test_a_copy_touches_nothing_but_its_own_file(self, files, tmp_path):
        """A pipe that lies in its way stays; copied onto itself a recording stays as it is; a suffix alone is no name."""
        (tmp_path / "r.wav").write_bytes(b"sound")
        (tmp_path / ".wav").write_bytes(b"")
        os.mkfifo(str(tmp_path / "pipe.wav"))
        with pytest.raises(OSError):
            files.copy("r", "pipe", "wav")
        assert not list(files.copy("r", "r", "wav"))
        assert (tmp_path / "pipe.wav").is_fifo() and (tmp_path / "r.wav").read_bytes() == b"sound" and list(files.found()) == ["r"]

    def test_a_copy_is_there_when_it_is_whole(self, files, tmp_path, monkeypatch):
        """Until its last step what it replaces is there, behind a link, too; one that is given up, or fails, leaves nothing."""
        monkeypatch.setattr(ari_ref, "COPIED_BYTES", 2)
        (tmp_path / "r.wav").write_bytes(b"sound")
        (tmp_path / "old.wav").write_bytes(b"older")
        (tmp_path / "link.wav").symlink_to("old.wav")
        given_up, failing, copying = (files.copy("r", "link", "wav") for _ in range(3))
        assert next(given_up) and next(failing) and next(copying)
        given_up.close()
        assert (tmp_path / "old.wav").read_bytes() == b"older" and len(list(tmp_path.glob(".*.part"))) == 2
        os.rename(str(tmp_path), str(tmp_path) + "x")
        with pytest.raises(OSError):
            list(failing)
        os.rename(str(tmp_path) + "x", str(tmp_path))
        assert list(copying) == [True, True] and (tmp_path / "link.wav").is_symlink()
        assert (tmp_path / "old.wav").read_bytes() == b"sound"

    def test_others_have_their_turn_while_a_file_is_copied(self, tmp_path, monkeypatch):
        """A copy of 100,000 steps: another recording is deleted meanwhile, and the end of the server does not wait for it."""
        monkeypatch.setattr(ari_ref, "COPIED_BYTES", 1)
        (tmp_path / "long.ulaw").write_bytes(bytes(100_000))
        (tmp_path / "other.ulaw").write_bytes(b"sound")
        with ari_ref.Server(read_config(tmp_path, USER), port=0, recordings=str(tmp_path)) as server:
            connection = http.client.HTTPConnection(urlsplit(server.url).netloc, timeout=10)
            connection.request("POST", "/ari/recordings/stored/long/copy?destinationRecordingName=c&api_key=u:p")
            deadline = time.monotonic() + 10
            while not list(tmp_path.glob(".*.part")):
                assert time.monotonic() < deadline
                threading.Event().wait(0.002)
            assert get(server.url + "/ari", "u:p", "/recordings/stored/other", "DELETE") == 204
            assert not (tmp_path / "c.ulaw").exists()
        connection.close()
        assert not list(tmp_path.glob("c.*")) and not list(tmp_path.glob(".*.part"))

    @rows("method, path, stays", ("stopped", "POST", "/stop", True), ("cancelled", "DELETE", "", False))
    def test_the_file_of_a_recording_that_is(self, client, tmp_path, method, path, stays):
        """It is there from the start, and stays, or goes."""
        self.record(client, "r")
        client.server.module.wait(lambda stasis: (tmp_path / "in" / "r.wav").exists())
        expect(client.request(method, "/recordings/live/r" + path), status=204)
        client.server.module.close()     # and with it all work with files
        assert (tmp_path / "in" / "r.wav").exists() is stays

    def test_who_hears_of_its_end_finds_the_file(self, client, monkeypatch):
        """Whoever has ended it: for its file, a thread that works with files does not wait in vain."""
        server, order = client.server.module, []
        end, tell = server.files.end, server.tell
        monkeypatch.setattr(server.files, "end", lambda *given: (end(*given), order.append("written")))
        monkeypatch.setattr(server, "tell", lambda outboxes, notes: (order.extend(["told"] * bool(outboxes)), tell(outboxes, notes)))
        self.record(client, "r")
        client.heard.expect("RecordingStarted")
        order.clear()
        server.worker.submit(server.change, lambda stasis: stasis.live_recordings["r"].stop())
        client.heard.expect("RecordingFinished", recording="r")
        assert order == ["written", "told"]

    def test_one_file_is_one_recording(self, client, tmp_path):
        """However its name is spelt: it is not recorded to twice, not overwritten, not lost; nothing comes outside the folder."""
        self.record(client, "real")
        client.server.module.wait(lambda stasis: (tmp_path / "in" / "real.wav").exists())
        for name, policy, status in (("./real", "overwrite", 409), ("x/../real", "fail", 409), ("/real", "append", 409),
                                     ("a/..", "fail", 500), ("../in/evil", "overwrite", 500), ("../evil", "fail", 500)):
            self.record(client, name, status, ifExists=policy)
        expect(client.post("/recordings/live/.%2Freal/stop"), status=204)
        expect(client.get("/recordings/stored/x%2F..%2Freal"), status=200, json={"name": "real", "format": "wav"})
        self.record(client, "./real", 409)
        assert [path.name for path in tmp_path.glob("**/*.wav")] == ["real.wav"]

    def test_a_recording_without_its_file_fails(self, client, tmp_path):
        """A folder stands in the way: RecordingFailed says so; a stored one whose file has gone is not read, copied or deleted."""
        (tmp_path / "in" / "way.wav").mkdir()
        self.record(client, "way")
        client.heard.expect("RecordingFailed", recording={"name": "way", "cause": "Cannot write the recording: Is a directory"})
        expect(client.get("/recordings/stored"), status=200, json=[])
        self.record(client, "gone")
        expect(client.post("/recordings/live/gone/stop"), status=204)
        client.heard.expect("RecordingFinished", recording="gone")
        (tmp_path / "in" / "gone.wav").unlink()
        (tmp_path / "in" / "gone.wav").mkdir()
        for method, path, status, text in (
                ("GET", "/file", 403, "Recording could not be opened"),
                ("POST", "/copy?destinationRecordingName=c", 500, "Copy failed"), ("DELETE", "", 500, "Delete failed")):
            expect(client.request(method, "/recordings/stored/gone" + path), status=status, json=message(text))
        expect(client.get("/recordings/stored"), status=200, json=[])

    def test_what_is_left_on_the_disk_stays_listed(self, files, tmp_path):
        """A file that may not be overwritten is there as before; what became of an older recording tells nothing of a newer one."""
        (tmp_path / "r.ulaw").write_bytes(bytes(80))
        left, stasis = files.lengths("r"), stasis_with(recordings=ari_ref.Recordings({"r": {"ulaw": 0.0}}))
        for expected in ({"r": {"ulaw": 10.0}}, {}):
            stasis.recording_lost("r", "Permission denied", left, 0)
            assert stasis.recordings.lengths == expected
            stasis.recordings.forget("r")               # another recording of that name has been made and deleted meanwhile

    def test_what_cannot_be_removed_is_listed_again(self):
        """One that was cancelled, while its folder may not be written to; what another recording made meanwhile stays listed."""
        store = ari_ref.Recordings({})
        store.begin("r", "ulaw", False)
        store.delete("r")
        stasis_with(recordings=store).recording_lost("r", "Read-only file system", {"ulaw": 0.0}, 2)
        assert store.lengths == {"r": {"ulaw": 0.0}} and not store.being_written
        store.begin("r", "ulaw", False)
        store.end("r", "ulaw", 1000.0)
        store.relist("r", {}, 1)
        assert store.lengths == {"r": {"ulaw": 1000.0}}

    def test_what_is_deleted_or_copied_is_so_for_whoever_asks_meanwhile(self):
        """The list changes before the file does; where the file cannot follow, it tells again what is left."""
        store = ari_ref.Recordings({"r": {"wav": 1000.0}})
        stasis = stasis_with(recordings=store)
        copied = asked(stasis, "POST", "recordings/stored/r/copy?destinationRecordingName=c")
        deleted = asked(stasis, "DELETE", "recordings/stored/r")
        assert store.lengths == {"c": {"wav": 1000.0}} and copied.then(stasis, None) == {"name": "c", "format": "wav"}
        assert (copied.changes, deleted.changes) == ("c", "r")
        store.begin("r", "ulaw", False)
        written = {"wav": 1000.0, "ulaw": 0.0}          # what is being written gets its length when it is over
        for name, left, expected in (
                ("r", {"wav": 1000.0, "ulaw": 5.0}, {"c": {"wav": 1000.0}, "r": written}), ("c", {}, {"r": written}),
                ("c", {"wav": 500.0}, {"r": written, "c": {"wav": 500.0}})):
            assert store.relist(name, left, store.changes[name]) and store.lengths == expected
            assert not store.relist(name, {}, store.changes[name] - 1) and store.lengths == expected
        store.work.clear()
        store.forget("c")
        copied.then(stasis, None)
        assert store.work == [("remove", "c", "wav")]

    def test_a_file_that_cannot_be_written_fails_the_recording(self):
        """RecordingFailed with a cause, and nothing is left; one that was over is lost, which the log says."""
        stasis = stasis_with("demo")
        begin_recording(originate(stasis).far_leg)
        stasis.recording_lost("r", "No space left on device", {}, 1)
        event = stasis.outbox[-1][0]
        assert (event["type"], event["recording"]["cause"]) == (
            "RecordingFailed", "Cannot write the recording: No space left on device")
        assert not stasis.live_recordings and not stasis.recordings.lengths and "No space" in stasis.notes[-1][0]


@pytest.fixture
def half_a_stack():
    """Half as many calls may be inside each other: half as much of what hangs together tells whether they are."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit // 2)
    yield
    sys.setrecursionlimit(limit)


# === (b) conformance ===
#
# Over the wire only.

EXACT = IN_PROCESS or os.environ.get("ARI_EXACT") == "1"
STRICT = IN_PROCESS or os.environ.get("ARI_STRICT") == "1"
DEADLINE_SECONDS = float(os.environ.get("ARI_DEADLINE", "5"))
POLL_SECONDS = 0.005

NOTHING = object()                                  # what a member is that is not there
UNSET = object()                                    # None is a JSON value and a way to say "no credentials"
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d{4}")
WEBSOCKET_MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"                        # RFC 6455 1.3
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10               # RFC 6455 5.2


def setting(variable):
    """What the contract says of the server under test, or its variable."""
    value, = (value for name, value, _ in CONTRACT.values() if name == variable)
    return value if IN_PROCESS else os.environ.get(variable, value)


def message(text):
    """The body of nearly every refusal."""
    return {"message": text}


def bad_request(text):
    """400 with this message."""
    return {"status": 400, "json": message(text)}


# What a failure says. The rule is the first paragraph of the case's docstring unless the case gives another.

def current_case():
    """(name, rule) of the case that is running, as pytest says it in the environment: looked up when something fails only."""
    name = os.environ["PYTEST_CURRENT_TEST"].split("::", 1)[1].rpartition(" (")[0]
    case = functools.reduce(getattr, name.partition("[")[0].split("::"), sys.modules[__name__])
    return name, " ".join((case.__doc__ or "").split("\n\n")[0].split())


def fail(request, expected, actual, rule=None):
    """End the case with what a reader needs to repair the server: rule, request, expected, actual."""
    name, usual_rule = current_case()
    lines = [name]
    for label, text in (("rule", rule or usual_rule), ("request", request), ("expected", expected),
                        ("actual", actual)):
        lines.append("  %-9s %s" % (label, text.replace("\n", "\n" + " " * 12)))
    pytest.fail("\n".join(lines), pytrace=False)


def matches(actual, wanted, whole=True):
    """Does a JSON value agree with the wanted one?

    In the wanted one a type stands for any value of it, a pattern for any text that it matches, a set for a list in any
    order, NOTHING for no such member.  With whole=False objects may have more members, and a text also stands for an object of that id or name.
    """
    if isinstance(wanted, dict):
        return (isinstance(actual, dict) and not (whole and len(actual) != len(wanted))
                and all(matches(actual.get(key, NOTHING), value, whole) for key, value in wanted.items()))
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
        if thing is NOTHING:
            return "<nothing>"
        return "<%s>" % (thing.pattern if isinstance(thing, re.Pattern) else getattr(thing, "__name__", thing))
    text = jsonlib.dumps(value, ensure_ascii=False, default=other)
    return text if len(text) <= limit else text[:limit] + " ..."


# What holds of every reply and every event, whatever the case is about: the members of an object and their order (where bytes
# count; ? one that may be missing), that nothing is told of a channel behind its end, that what an object of ours names was there,
# and that nothing stands behind the body of a reply.

OBJECTS = [(set(marks.split()), members) for marks, members in (     # by members that together nothing else has
    ("protocol_id", "id name state protocol_id caller connected accountcode dialplan creationtime language channelvars?"),
    ("app_name app_data", "context exten priority app_name app_data"),
    ("bridge_class", "id technology bridge_type bridge_class creator name channels creationtime video_mode video_source_id?"),
    ("media_uri", "id media_uri next_media_uri? target_uri language state"),
    ("format target_uri", "name format state target_uri duration? talking_duration? silence_duration? cause?"),
    ("technology resource", "technology resource state channel_ids"),
    ("bridge_ids", "name channel_ids bridge_ids endpoint_ids device_names events_allowed events_disallowed"),
    ("old_messages", "name old_messages new_messages"),
    ("os kernel", "os kernel machine options date user"),
    ("entity_id", "version entity_id"),
    ("default_language", "name default_language max_channels? max_open_files? max_load? setid"),
    ("startup_time", "startup_time last_reload_time"),
    ("use_count", "name description use_count status support_level"),
    ("channel configuration", "channel type status configuration"),
    ("ping", "ping timestamp asterisk_id"))]
EVENTS = {kind: members for members, kinds in {
    "type timestamp channel": "ChannelCreated ChannelStateChange ChannelConnectedLine StasisEnd",
    "type timestamp args channel replace_channel?": "StasisStart",
    "type timestamp channel destination args": "ApplicationMoveFailed",
    "type timestamp cause cause_txt channel": "ChannelDestroyed",
    "type timestamp dialplan_app dialplan_app_data channel": "ChannelDialplan",
    "type timestamp caller_presentation caller_presentation_txt channel": "ChannelCallerId",
    "type timestamp digit duration_ms channel": "ChannelDtmfReceived",
    "type timestamp dialstatus forward dialstring caller? peer": "Dial",
    "cause? soft? type timestamp channel": "ChannelHangupRequest",
    "variable value type timestamp channel?": "ChannelVarset",
    "type timestamp eventname userevent channel? bridge? endpoint?": "ChannelUserevent",
    "type timestamp bridge": "BridgeCreated BridgeDestroyed",
    "type timestamp bridge old_video_source_id?": "BridgeVideoSourceChanged",
    "type timestamp bridge channel": "ChannelEnteredBridge ChannelLeftBridge",
    "type timestamp playback": "PlaybackStarted PlaybackContinuing PlaybackFinished",
    "type timestamp recording": "RecordingStarted RecordingFinished RecordingFailed",
    "type timestamp musicclass? channel": "ChannelHold ChannelUnhold",
    "type timestamp endpoint": "EndpointStateChange",
    "type timestamp endpoint peer": "PeerStatusChange",
    "type timestamp endpoint contact_info": "ContactStatusChange",
    "duration? type timestamp channel": "ChannelTalkingStarted ChannelTalkingFinished",
}.items() for kind in kinds.split()}


def expect_members(source, value, names):
    """The members of an object are these, in this order; what has a ? may be missing."""
    wanted = [name.rstrip("?") for name in names.split() if name.rstrip("?") in value or not name.endswith("?")]
    if list(value) != wanted:
        fail(source, names, " ".join(value), "every object and event has its members, in this order")


SHOWN = set()                                       # every id that was given, or shown by an object of its own


def note_ids(value):
    """Remember the ids that a JSON value shows."""
    for item in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        if isinstance(item, (dict, list)):
            note_ids(item)
    if isinstance(value, dict) and isinstance(value.get("id"), str):
        SHOWN.add(value["id"])


def expect_known(source, value):
    """The ids that an object of ours names, a bridge or an application, are those of things that were there."""
    for item in value if isinstance(value, list) else [value]:
        kinds = ("channels", "channel_ids", "bridge_ids") if isinstance(item, dict) else ()
        named = [one for kind in kinds for one in item.get(kind, ())]
        unknown = [one for one in named if not one.startswith("__AST_") and one.partition(";")[0] not in SHOWN]
        if unknown and RUN in str(item.get("id") or item.get("name")):
            fail(source, "ids of what was there", ", ".join(unknown), "every id that is shown exists, or did")


def expect_shapes(source, value):
    """Whatever is known of the objects in a JSON value holds."""
    for item in value if isinstance(value, list) else value.values() if isinstance(value, dict) else ():
        if isinstance(item, (dict, list)):
            expect_shapes(source, item)
    if isinstance(value, dict):
        kind = value.get("type")
        if isinstance(kind, str) and kind in EVENTS and "timestamp" in value:
            expect_members(source, value, EVENTS[kind] + " asterisk_id application")
        for marks, members in OBJECTS:
            if marks <= set(value):
                expect_members(source, value, members)


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
        if server.is_tls:
            self.socket = ssl._create_unverified_context().wrap_socket(self.socket)

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

    KEPT_SECONDS = 1        # a connection is used again for so long: no server loses patience while a request is on its way

    def __init__(self, server, prefix):
        self.server, self.prefix = server, prefix
        self.app = prefix + "-app"
        self.ping = self.path("/asterisk/ping")
        self.authorization = "Authorization: " + basic(setting("ARI_AUTH"))
        self.connections, self.changed, self.ids, self._previous, self._kept_until = [], set(), set(), None, 0.0

    # names

    def id(self, word):
        """An id that only this case uses."""
        self.ids.add("%s-%s" % (self.prefix, word))
        SHOWN.add("%s-%s" % (self.prefix, word))
        return "%s-%s" % (self.prefix, word)

    @property
    def context(self):
        """The dialplan context of the case's application."""
        return promised(self.server, "context").format(app=self.app)

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
        self.part()
        return self._exchange(data, shell, half_close)

    def request(self, method, path="", params=None, json=UNSET, form=None, body=None, headers=(), auth=UNSET,
                target=None):
        """Send one request, on the connection of the one before where that was kept; the reply to it.

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
            segments = target[len(self.server.root) + 1:].split("?")[0].split("/")
            self.changed.update((segments[0], "/".join(segments[:2])))
        data = head("%s %s HTTP/1.1" % (method, target), *fields).encode("utf-8", "surrogateescape") + (body or b"")
        return self._exchange(data, curl_line(method, self.url(target), auth, headers, body), keeps=True)

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

    def _exchange(self, data, request, half_close=False, keeps=False):
        if time.monotonic() > self._kept_until:
            self.part()
        self._previous = connection = self._previous or Connection(self.server)
        connection.send(data)
        if half_close:
            connection.half_close()
        reply = connection.reply(request)
        is_over = reply.problem or reply.status == 101 or (reply.header("Connection") or "").lower() == "close"
        if keeps and not is_over and connection.unread:
            fail(request, "nothing behind the body", repr(connection.unread[:100]), "Content-Length tells the truth (RFC 9110 8.6)")
        if reply.body[:1] in (b"{", b"["):
            note_ids(reply.json)
        is_kept = keeps and not is_over
        self._kept_until = time.monotonic() + self.KEPT_SECONDS if is_kept else 0.0
        return reply

    def part(self):
        """End the connection of the request before: the next one gets a new one."""
        if self._previous:
            self._previous.close()
            self._previous = None

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

    # time

    def hasten(self, seconds):
        """For an event that comes within so many seconds and is waited for next: sooner, where the server can be hurried."""
        self.server.hasten(seconds)

    def let_pass(self, seconds):
        """For what shows by nothing that it is over: so many seconds of the server go by."""
        if not self.server.hasten(seconds):
            time.sleep(seconds)

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
        query = {"endpoint": "Local/100@" + promised(self.server, "context").format(app=events.app), "app": events.app,
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
        return eventually(functools.partial(self.get, path), **expectation)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        """Close what is open."""
        for connection in self.connections:
            connection.close()
        self.part()

    def sweep(self):
        """Close what is open and delete what this case made, recognised by its prefix."""
        for connection in self.connections:
            connection.close()
        for collection, path, key in (("channels", "/channels", "id"), ("bridges", "/bridges", "id"),
                                      ("deviceStates", "/deviceStates", "name"), ("mailboxes", "/mailboxes", "name"),
                                      ("recordings", "/recordings/stored", "name")):
            if collection in self.changed or collection == "recordings" and {"channels", "bridges"} & self.changed:
                for thing in self.get(path).json or []:
                    if self.prefix in jsonlib.dumps(thing):
                        self.delete("%s/%s" % (path, quote(thing[key], safe="")))
        for name in self.ids if "asterisk/logging" in self.changed else ():
            self.delete("/asterisk/logging/" + name)
        for name in self.ids if "asterisk/variable" in self.changed else ():
            self.post("/asterisk/variable", {"variable": name})
        self.__exit__()


class Events:
    """An open event socket. What was read and not asked for yet waits in `waiting`."""

    def __init__(self, client, reply, app):
        self.client, self.app, self.connection = client, app, reply.connection
        self.request = reply.request.split()[-1].strip("'")
        self.waiting, self.control, self.sent, self.ended = [], [], "", set()

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
                self._judge(self.waiting[-1])
            except ValueError:
                self.waiting.append({"not JSON": repr(frame.payload)})
        else:
            self.control.append(frame)
        return frame

    def _judge(self, event):
        """What holds of every event holds of this one."""
        if EXACT:
            expect_shapes(self.request, event)
        note_ids(event)
        expect_known(self.request, event.get("bridge"))
        channel = event.get("channel") if isinstance(event.get("channel"), dict) else {}
        life = channel.get("id"), channel.get("creationtime")
        if life in self.ended:
            fail(self.request, "nothing of a channel behind its ChannelDestroyed", shown(event), "a channel that is gone is silent")
        if event.get("type") == "ChannelDestroyed":
            self.ended.add(life)

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
        wanted, at, problem = dict(members, type=kind), 0, None
        while problem is None:
            for at in range(at, len(self.waiting)):         # each event is looked at once, however many wait
                if matches(self.waiting[at], wanted, whole=False):
                    return self.waiting.pop(at)
            at = len(self.waiting)
            try:
                if self._read(deadline).opcode == CLOSE:
                    problem = "close frame"
            except NoReply as silence:
                problem = str(silence)
        self._fail("event %s %s" % (kind, shown(members)), problem, rule)

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

    def expect_silence(self, subject):
        """Prove that nothing else was sent about a channel, bridge, playback or recording."""
        self.marker()
        found = [event for event in self.waiting if subject in subjects(event)]
        if found:
            fail(self.request, "no event about %s" % subject, shown(found[0]))

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
    if EXACT and reply.body[:1] in (b"{", b"[") and "/api-docs" not in reply.request:
        expect_shapes(reply.request, reply.json)
        expect_known(reply.request, reply.json)
    if found:
        actual = [str(reply)] + [text for _, text in found if text and text not in str(reply)]
        fail(reply.request, expectation_text(**expectation), "\n".join(actual), rule)
    return reply


def eventually(ask, **expectation):
    """Ask until the reply is as expected, and return it."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        reply = ask()
        if not differences(reply, **expectation) or time.monotonic() > deadline:
            return expect(reply, **expectation)
        time.sleep(POLL_SECONDS)


# Fixtures: the server, what the contract promises, and a client per case.

class ServerUnderTest:
    """Where it listens, who it says it is, and the module, where it runs in this process."""

    def __init__(self, url, module=None):
        parts, self.module = urlsplit(url), module
        self.is_tls = parts.scheme == "https"
        self.host, self.port = parts.hostname, parts.port or (443 if self.is_tls else 80)
        self.root = parts.path.rstrip("/") or "/ari"
        if not self.root.endswith("/ari"):
            self.root += "/ari"
        try:
            with Client(self, "t") as client:
                reply = client.get("/asterisk/info")
        except OSError as error:
            pytest.exit("no server at %s: %s" % (url, error), 2)
        if reply.status != 200:
            pytest.exit("GET %s/asterisk/info as %s: %s" % (url, setting("ARI_AUTH").split(":")[0], reply), 2)
        self.name = "%s, version %s, at %s://%s:%d%s" % (
            reply.header("Server"), reply.json["system"]["version"], parts.scheme, self.host, self.port, self.root)

    def hasten(self, seconds):
        """Bring what is due within so many seconds about now, by the clock of the module; True when that can be done."""
        if self.module:
            self.module.advance(seconds)
        return bool(self.module)


class Report:
    """The last lines of a run: cases per chapter, and the server."""

    def __init__(self):
        self.server_name = "none was needed"
        self.counts, self.missing = {}, collections.Counter()
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
        if report.skipped and isinstance(report.longrepr, tuple):
            self.missing[report.longrepr[2].partition(": ")[2]] += 1

    def check_contract(self, server, session):
        """Tell before the first case what of the contract is missing, and for how many cases."""
        count = collections.Counter(name for item in session.items for name in needs(item))
        manager = session.config.pluginmanager
        with manager.getplugin("capturemanager").global_and_fixture_disabled():
            write = manager.getplugin("terminalreporter").write_line
            write("\nthe contract at " + server.name)
            for name, (variable, _, what) in CONTRACT.items():
                if count[name] or name == "writer":
                    write("  %-8s %s%s" % ("kept" if is_kept(server, name) else "missing", what, (variable and " (%s)" % variable)
                                           + (": %d cases" % count[name] if count[name] else "")))

    def pytest_terminal_summary(self, terminalreporter):
        write = terminalreporter.write_line
        terminalreporter.section("chapters")
        titles = [title for _, title in self.chapters] + [""]
        width = max([len(chapter) for chapter in self.counts] or [0])
        for chapter, counts in sorted(self.counts.items(), key=lambda item: titles.index(item[0])):
            write("%-*s  %4d passed  %4d failed  %4d skipped" % (width, chapter, counts["passed"], counts["failed"],
                                                               counts["skipped"]))
        for reason, count in self.missing.most_common():
            write("%d skipped: %s" % (count, reason))
        write("server: " + self.server_name)


REPORT = Report()
RUN = uuid.uuid4().hex[:5]
CASES = itertools.count()


@pytest.fixture(scope="session", autouse=True)
def report(request):
    """Count the cases. A conftest.py would do, but this is one file."""
    request.config.pluginmanager.register(REPORT, "ari-report")
    yield REPORT


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


def little_buffered(module):
    """The module, with sockets that are full when some kB wait for a client that does not read, and not megabytes."""
    module.listeners[0].socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
    return module


@pytest.fixture(scope="session")
def server(request, tmp_path_factory, report):
    """The server under test."""
    if IN_PROCESS:
        with module_server(tmp_path_factory.mktemp("ari"), "no") as module:
            under_test = ServerUnderTest(module.url, module)
            report.server_name = under_test.name
            yield under_test
    else:
        under_test = ServerUnderTest(os.environ["ARI_URL"])
        report.server_name = under_test.name
        report.check_contract(under_test, request.session)
        yield under_test


@pytest.fixture(scope="session")
def pretty_server(server, tmp_path_factory):
    """A server with pretty = yes."""
    if IN_PROCESS:
        with module_server(tmp_path_factory.mktemp("ari-pretty"), "yes") as module:
            yield ServerUnderTest(module.url, module)
    else:
        yield ServerUnderTest(promised(server, "pretty"))


@pytest.fixture(scope="session")
def narrow_server(server, tmp_path_factory):
    """The server under test; where it is the module, another one with small buffers, so that some events fill them."""
    if IN_PROCESS:
        with little_buffered(module_server(tmp_path_factory.mktemp("ari-narrow"), "no")) as module:
            yield ServerUnderTest(module.url, module)
    else:
        yield server


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


# The promises of the contract. A look at the server tells whether one is kept that nobody made.

def reaches_application(client, context):
    """True where that context brings a call into an application."""
    events, far = client.events(), client.id("far")
    client.post("/channels", {"endpoint": "Local/100@" + context.format(app=client.app), "app": client.app,
                              "channelId": client.id("near"), "otherChannelId": far})
    return is_soon(lambda: client.get("/channels/" + far).json.get("dialplan", {}).get("app_name") == "Stasis" and events.app)


def misses_sounds(client, media):
    """True where a sound can be one that does not exist: ari_ref without --sounds has every sound."""
    playback = client.post("/bridges/%s/play" % client.bridge(), {"media": media}).json["id"]
    return is_soon(lambda: client.get("/playbacks/" + playback).status == 404)


def names_origin(client, origin):
    """The origin that an answer to it allows."""
    return client.get("/asterisk/ping", headers={"Origin": origin}).header("Access-Control-Allow-Origin")


def is_soon(what):
    """True when it is so within half a second."""
    deadline = time.monotonic() + 0.5
    while not what() and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return what()


PROBES = {
    "read_only": lambda client, auth: client.get("/asterisk/ping", auth=auth).status == 200,
    "crypted": lambda client, auth: client.get("/asterisk/ping", auth=auth).status == 200,
    "allowed_origin": lambda client, origin: names_origin(client, origin),
    "refused_origin": lambda client, origin: not names_origin(client, origin),
    "realm": lambda client, realm: '"%s"' % realm in (client.get("/asterisk/ping", auth=None).header("WWW-Authenticate") or ""),
    "channelvars": lambda client, names: set(client.post("/channels", {"endpoint": "Local/1@nowhere", "app": "nobody"}).json.get(
        "channelvars", {})) == set(names.split(",")),
    "context": reaches_application,
    "dialplan": lambda client, context: all(client.get("/deviceStates/Local%%2F%s@%s" % (exten, context)).json["state"] != "INVALID"
                                            for exten in ("answer", "app")),
    "sound": lambda client, name: client.get("/sounds/" + quote(name, safe="")).status == 200,
    "long_sound": lambda client, name: client.get("/sounds/" + quote(name, safe="")).status == 200,
    "no_sound": misses_sounds,
    "formats": lambda client, formats: all(client.post("/bridges/%s/record" % client.bridge(form), {"format": form}).status != 422
                                           for form in formats.split()),
    "console": lambda client, _: "Console" in {log["type"] for log in client.get("/asterisk/logging").json},
    "module": lambda client, name: matches(client.get("/asterisk/modules/" + name).json, {"use_count": 0}, whole=False),
    "mailbox_objects": lambda client, path: "configClass" not in str(client.get("/asterisk/config/dynamic/%s/none" % path).json),
    "compact": lambda client, _: b"\n" not in client.get("/asterisk/ping").body,
    "pretty": lambda client, url: url,
}


@functools.lru_cache(maxsize=None)
def is_kept(server, name):
    """Is this of the contract there? What is promised is not looked for."""
    variable, value, _ = CONTRACT[name]
    if IN_PROCESS or variable in os.environ or name not in PROBES:
        return True
    client = Client(server, "t%s-look-%s" % (RUN, name))
    try:
        return bool(PROBES[name](client, os.environ.get(variable, value)))
    finally:
        client.sweep()


def promised(server, name):
    """The value of the contract; skip where it is not kept."""
    variable, value, what = CONTRACT[name]
    if not is_kept(server, name):
        pytest.skip("missing: " + what + (variable and " (%s)" % variable))
    return setting(variable) if variable else value


def promise(name):
    """A fixture that is the value of the contract."""
    return pytest.fixture(scope="session")(lambda server: promised(server, name))


globals().update((name, promise(name)) for name in CONTRACT)          # some are more than their value, and follow


@pytest.fixture(scope="session")
def channelvars(server):
    """The names of channelvars."""
    return promised(server, "channelvars").split(",")


@pytest.fixture
def channelvar(channelvars):
    """The first of them."""
    return channelvars[0]


@pytest.fixture
def context(ari):
    """The context of the case's application."""
    return ari.context


# Cases as text: what a client asks, what comes back, what events tell.
#
#     takes its peer away first [couple] BRIDGEPEER is unset (bridge_channel.c, bridge_channel_internal_pull)
#         POST /bridges/{bridge}/removeChannel?channel={a} -> 204
#         {a}: ChannelVarset BRIDGEPEER=; ChannelLeftBridge {bridge} simple_bridge
#         GET /channels/{a}/variable?variable=BRIDGEPEER -> 404 Variable Not Found "Provided variable was not found"
#
# A sentence, in brackets the settings, the rule and its source; then the steps:
#
#     METHOD path [as USER] [WHAT] -> STATUS [Phrase] [BODY]      a request and its reply; a path behind ~ is not below /ari
#         USER      user:password, or nobody; else the user who may write
#         WHAT      ?query, JSON, form: TEXT, or body TYPE: TEXT
#         BODY      "message" of a refusal, page "sentence" of one outside ARI, JSON that it has, = JSON that it is,
#                   = NAME JSON that it is but for the usual members, or empty
#     eventually METHOD path ...        the same, asked until it is so
#     with NAME: value                  before a request: one more field of it
#     header NAME: value                behind a request: its reply has this field; without a value: it has no such field
#     subject: line; line               the next events about a channel, bridge, playback or recording, in this order: the type,
#                                       what OWN_WORDS say of it, and behind " @ " the channel's place in the dialplan, as
#                                       context,exten,priority app_name(app_data); a line that ends with ... begins so
#     await Type [ID] [JSON]            an event about this channel, bridge, ..., that has this; others may come before it
#     await Type [ID] [JSON] = NAME JSON    the same, and its member NAME is that but for the usual members
#     never Type [ID] [JSON]            no such event has come
#     never about ID                    no event about this has come
#     forget [ID ...]                   what has come (about these) does not count
#     open [NAME,NAME] [all]            an event socket (with subscribeAll) for these applications, else the case's own; it is read
#                                       from here on
#     read NAME                         the event socket that was opened last for this application is read from here on
#     close                             the event socket that is read
#     let 0.5 s pass                    or hasten 0.5 s, before an await: what comes within that time comes at once, if that can be
#     name = value                      {name} stands for this from here on
#     name <- member.member             or for this member of the last reply or awaited event, percent-encoded in a path
#     do SCENE [argument ...]           the steps of a scene, with its arguments in place of %1, %2, ...
#
# $b is an id of this case, {app}, {context} and {root} its application, the dialplan context of that, and the path of ARI;
# "<text>" is any text, "<timestamp>" and "<uuid>" such a one, "<...>" one that the pattern ... matches, "<nothing>" no such member;
# a list that begins with "<any order>" has the rest of it in any order.
# Rows behind the steps, | sentence | value | ..., make a case each, with the sentence in place of %0 and the values of %1, %2, ...;
# || parts rows in one line; a line x joins each row before it to each row behind it. A step of which nothing is left is left out.
# What is indented more than a step continues it.  A setting is a scene (told like a case, with its name for a sentence, and done
# before) or a promise of the contract, for whose value its name stands.

USUAL = {}                                          # what a NAME of `= NAME JSON` has, unless the JSON says otherwise
UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
WILD = {"<text>": str, "<nothing>": NOTHING, "<timestamp>": TIMESTAMP, "<uuid>": UUID}
SUBJECTS = {"Bridge": "bridge", "Dial": "peer", "Playback": "playback", "Recording": "recording"}     # else it is a channel
ABOUT_EVENTS = {"await", "never", "silence", "about", "forget", "read", "close"}
SCENES = {}                                         # name -> (settings, rule, steps)
TOLD = []                                           # the cases, for --export
TITLE = re.compile(r"([^\s\[][^\[]*?)(?: \[([\w, ]*)\])?(?: ([A-Z0-9(][^\[]*))?")
REQUEST = re.compile(r"(eventually )?([A-Z]+) (\S+)(?: as (\S+))?(?: (?!->)(.+?))? +-> "
                     r"(\d+)(?: ([A-Z][\w' ]*?))?(?: (empty|(?:page )?[\"{\[=].*))?")
EVENT = re.compile(r"(await|never) ([A-Z]\w+)(?: (\{\w+\}|[^ {=]\S*))?(?: (\{.*?\}))?(?: = (\w+) (.*))?")
STEPS = [(re.compile(pattern), read) for pattern, read in (
    (r"with ([\w-]+):(.*)", lambda name, value: {"with": name, "value": value.strip()}),
    (r"header ([\w-]+):(.*)", lambda name, value: {"header": name, "value": value.strip() or None}),
    (r"never about (\S+)", lambda subject: {"silence": subject}),
    (r"forget(.*)", lambda subjects: {"forget": subjects.split()}),
    (r"open(?: (?!all$)(\S+))?( all)?", lambda apps, every: {"open": apps or "{app}", "all": bool(every)}),
    (r"read (\S+)", lambda app: {"read": app}),
    (r"close()", lambda _: {"close": True}),
    (r"let (\S+) s pass", lambda seconds: {"pass": float(seconds)}),
    (r"hasten (\S+) s", lambda seconds: {"hasten": float(seconds)}),
    (r"(\w+) = (.*)", lambda name, value: {"name": name, "value": value}),
    (r"(\w+) <- (\S+)", lambda name, member: {"name": name, "member": member.split(".")}),
    (r"do (\w+) ?(.*)", lambda scene, arguments: {"do": scene, "arguments": arguments.split()}),
    (r"(\S+): (.+)", lambda subject, lines: {"about": subject, "lines": lines.split("; ")}))]


def read_body(text):
    """What a step says of a body: {"is": JSON}, {"has": JSON}, {"page": sentence}, {"empty": true} or nothing."""
    if text is None or text == "empty":
        return {"empty": True} if text else {}
    if text.startswith("page "):
        return {"page": jsonlib.loads(text[5:])}
    usual, value = re.fullmatch(r"(?:= ?([a-z]*) ?)?(.*)", text).groups()
    value = jsonlib.loads(value)
    if isinstance(value, str):
        return {"is": message(value)}
    return {"has": value} if usual is None else {"is": {**USUAL[usual], **value} if usual else value}


@functools.lru_cache(maxsize=None)
def read_step(text):
    """A step of a case, as JSON that nobody changes."""
    match = REQUEST.fullmatch(text)
    if match:
        eventually, method, path, user, given, status, phrase, body = match.groups()
        step = {"request": method, "path": path, "status": int(status), **read_body(body)}
        if given and given[0] == "?":
            step["path"] += given
        elif given:
            what, kind, content = re.fullmatch(r"(?:(form|body) ?(.*?): )?(.*)", given).groups()
            step[what or "json"] = content if what else jsonlib.loads(content)
            step["type"] = kind if what == "body" else None
        step.update({"as": user, "eventually": bool(eventually), "phrase": phrase})
        return {key: value for key, value in step.items() if value or key not in ("type", "as", "eventually", "phrase")}
    match = EVENT.fullmatch(text)
    if match:
        verb, kind, subject, members, name, whole = match.groups()
        about = {SUBJECTS.get(re.match("[A-Z][a-z]+", kind).group(), "channel"): subject} if subject else {}
        step = {verb: kind, "has": {**about, **jsonlib.loads(members or "{}")}}
        return {**step, "member": name, **read_body("= %s %s" % (name, whole))} if name else step
    for pattern, read in STEPS:
        match = pattern.fullmatch(text)
        if match:
            return read(*match.groups())
    raise ValueError("no step: " + text)


def wild(value):
    """A JSON value whose "<...>" stand for what they match."""
    if isinstance(value, dict):
        return {name: wild(member) for name, member in value.items()}
    if isinstance(value, list):
        return set(value[1:]) if value[:1] == ["<any order>"] else [wild(item) for item in value]
    if isinstance(value, str) and value[:1] + value[-1:] == "<>":
        return WILD.get(value) or re.compile(value[1:-1])
    return value


def wanted_of(step):
    """What a step says of a body, for expect()."""
    return {word: wild(step[key]) for key, word in (("is", "json"), ("has", "has"), ("page", "page")) if key in step} or (
        {"body": b""} if "empty" in step else {})


# What a line tells of an event behind its type.
OWN_WORDS = {
    "ChannelStateChange": "{channel[state]}",
    "ChannelDialplan": "{dialplan_app}({dialplan_app_data})",
    "ChannelVarset": "{variable}={value}",
    "ChannelHangupRequest": "{cause}{soft}",
    "ChannelDestroyed": "{cause}",
    "ChannelCallerId": "{channel[caller][name]} <{channel[caller][number]}>",
    "ChannelConnectedLine": "{channel[connected][name]} <{channel[connected][number]}>",
    "ChannelDtmfReceived": "{digit}",
    "ChannelEnteredBridge": "{bridge[id]} {bridge[technology]}",
    "ChannelLeftBridge": "{bridge[id]} {bridge[technology]}",
    "BridgeVideoSourceChanged": "{bridge[video_mode]}",
    "Dial": "{dialstatus}",
    "StasisStart": "{args}",
    "PlaybackStarted": "{playback[media_uri]} {playback[state]}",
    "PlaybackContinuing": "{playback[media_uri]} {playback[state]}",
    "PlaybackFinished": "{playback[media_uri]} {playback[state]}",
    "RecordingStarted": "{recording[state]}",
    "RecordingFinished": "{recording[state]}",
    "RecordingFailed": "{recording[state]}",
}


def seconds_of(message):
    """When an event or a ping was made, in seconds of the server's clock."""
    return datetime.datetime.strptime(message["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z").timestamp()


def subjects(event):
    """What an event is about: ids of channel and bridge, id or name of playback or recording, and where that is."""
    things = [event.get(key) or {} for key in ("channel", "peer", "bridge", "playback", "recording")]
    targets = [thing.get("target_uri", "").partition(":")[2] for thing in things]
    return {thing.get("id", thing.get("name")) for thing in things if thing} | set(filter(None, targets))


def line_of(event, with_place=False):
    """An event as a line of a timeline."""
    values = collections.defaultdict(str, event, soft=" soft" * event.get("soft", False), args=",".join(event.get("args", [])))
    line = (event["type"] + " " + OWN_WORDS.get(event["type"], "").format_map(values)).strip()
    channel = event.get("channel") or event.get("peer")
    if not channel or not with_place:
        return line
    return line + " @ {context},{exten},{priority} {app_name}({app_data})".format_map(channel["dialplan"])


def expect_lines(events, subject, wanted):
    """Wait for the next events about `subject`; told in lines they are these, in order."""
    seen, deadline = [], time.monotonic() + DEADLINE_SECONDS
    try:
        while len(seen) < len(wanted):
            mine = [event for event in events.waiting if subject in subjects(event)]
            if mine:
                events.waiting.remove(mine[0])
                seen.append(mine[0])
            else:
                events._read(deadline)
    except NoReply:
        pass
    actual = [line_of(event, " @ " in line) for event, line in zip(seen, wanted)]
    actual = [line if line.endswith("...") and told.startswith(line[:-3]) else told for told, line in zip(actual, wanted)]
    if actual != wanted:
        fail("events about %s on %s" % (subject, events.request), "\n".join(wanted), "\n".join(actual) or "none")
    return seen


class Telling:
    """A case as text that runs: its client, its events, and what names stand for."""

    def __init__(self, ari, fixture):
        self.ari, self.events, self.sockets, self.fixture = ari, None, {}, fixture
        self.names, self.members = {"app": ari.app, "root": ari.path("")}, {}
        self.done, self.fields, self.seen = set(), [], {}

    def filled(self, value, in_path=False):
        """A value of a step with names and ids in it."""
        if isinstance(value, dict):
            return {self.filled(name): self.filled(member, name == "path") for name, member in value.items()}
        if isinstance(value, list):
            return [self.filled(item) for item in value]
        if not isinstance(value, str):
            return value
        def named(match):
            name = match.group(1)
            if name not in self.members:
                return self.names[name]
            return quote(self.members[name], safe="") if in_path else self.members[name]
        value = re.sub(r"\$(\w+)", lambda match: self.ari.id(match.group(1)), value) if "$" in value else value
        return re.sub(r"\{([A-Za-z]\w*)\}", named, value) if "{" in value else value

    def tell(self, settings, steps=()):
        """Do what these settings begin with, and the steps, with an event socket where they speak of the application or of events."""
        told = list(flat(settings, steps, self.done))
        if not self.events and any(re.search("{app}|{context}", str(step)) or next(iter(step)) in ABOUT_EVENTS for step in told):
            self.events = self.sockets[self.ari.app] = self.fixture("events")
        for step in told:
            self.take(step)

    def take(self, step):
        """Do one step: its first key tells how."""
        step = self.filled(step)
        getattr(self, "take_" + next(iter(step)))(step)

    def take_request(self, step):
        given = {key: step[key] for key in ("json", "form", "body") if key in step}
        given["headers"] = ([("Content-Type", step["type"])] if step.get("type") else []) + self.fields
        if "as" in step:
            given["auth"] = None if step["as"] == "nobody" else step["as"]
        if step["path"][:1] == "~":
            given["target"] = self.ari.server.root[:-len("/ari")] + step["path"][1:]
        ask = functools.partial(self.ari.request, step["request"], step["path"], **given)
        expectation = dict(wanted_of(step), status=step["status"], phrase=step.get("phrase"))
        self.reply = eventually(ask, **expectation) if "eventually" in step else expect(ask(), **expectation)
        self.fields, self.seen = [], self.reply.json

    def take_with(self, step):
        self.fields.append((step["with"], step["value"]))

    def take_header(self, step):
        expect(self.reply, headers={step["header"]: wild(step["value"])})

    def take_await(self, step):
        self.seen = self.events.expect(step["await"], **wild(step["has"]))
        if "is" in step and not matches(self.seen[step["member"]], wild(step["is"])):
            fail(self.events.request, shown(wild(step["is"])), shown(self.seen[step["member"]]))

    def take_never(self, step):
        self.events.expect_none(step["never"], **wild(step["has"]))

    def take_silence(self, step):
        self.events.expect_silence(step["silence"])

    def take_about(self, step):
        self.seen = expect_lines(self.events, step["about"], step["lines"])[-1]

    def take_forget(self, step):
        gone = set(step["forget"])
        self.events.waiting = [event for event in self.events.waiting if gone and not gone & subjects(event)]

    def take_open(self, step):
        self.events = self.sockets[step["open"]] = self.ari.events(step["open"], step["all"])

    def take_read(self, step):
        self.events = self.sockets[step["read"]]

    def take_close(self, _):
        self.events.close()

    def take_pass(self, step):
        self.ari.let_pass(step["pass"])

    def take_hasten(self, step):
        self.ari.hasten(step["hasten"])

    def take_need(self, step):
        name = step["need"].rpartition(".")[2]
        value = self.fixture(name)
        self.names.update(getattr(value, "names", {name: value}))

    def take_name(self, step):
        if "member" in step:
            self.members[step["name"]] = str(functools.reduce(lambda value, key: value[key], step["member"], self.seen))
        else:
            self.names[step["name"]] = step["value"]


def script_cases(text):
    """(line, sentence, settings, rule, steps, tables of rows) of each case."""
    cases = []
    for number, line in enumerate(textwrap.dedent(text).split("\n")):
        if line[:1] not in (" ", ""):
            sentence, settings, rule = TITLE.fullmatch(line).groups()
            cases.append((number, sentence, [name for name in (settings or "").split(", ") if name], rule or "", [], [[]]))
        elif line.strip()[:1] == "|":
            cases[-1][5][-1] += [[cell.strip() for cell in re.split(r" \|(?= |$)", row)] for row in line.strip(" |").split(" || ")]
        elif line.strip() == "x":
            cases[-1][5].append([])
        elif line[:8].isspace():
            cases[-1][4][-1] += " " + line.strip()
        elif line:
            cases[-1][4].append(line.strip())
    return cases


def rows_of(tables):
    """(sentence, cells) of each row, those of several tables joined."""
    for joined in itertools.product(*tables) if tables != [[]] else ():
        yield " ".join(row[0] for row in joined), [cell for row in joined for cell in row[1:]]


def steps_of(steps, cells=None):
    """The steps, read, with the cells of a row in place of %0, %1, ..."""
    def cell(match):
        return cells[int(match.group(1))] if int(match.group(1)) < len(cells) else ""
    if cells is not None:
        steps = [re.sub(r"%(\d)(?![0-9A-F])", cell, step).strip() for step in steps]
    return [read_step(step) for step in steps if step]


def flat(settings, steps, done):
    """What a case does with its settings: steps without scenes, {"need": promise} among them; `done` remembers what was begun."""
    for name in settings:
        if name not in done:
            done.add(name)
            yield from flat(SCENES[name][0], steps_of(SCENES[name][2], [name]), done) if name in SCENES else [{"need": name}]
    for step in steps:
        if "do" in step:
            yield from flat(SCENES[step["do"]][0], steps_of(SCENES[step["do"]][2], [step["do"], *step["arguments"]]), done)
        else:
            yield step


def scenes(text):
    """Settings of the cases below."""
    SCENES.update((name, (settings, rule, steps)) for _, name, settings, rule, steps, _ in script_cases(text))


@pytest.fixture
def telling(ari, request):
    """What tells the text and the scenes of this case."""
    return Telling(ari, request.getfixturevalue)


def needs(item):
    """What of the contract a case asks for: by its fixtures, by its scenes, and by name."""
    steps = flat([*item.fixturenames, *getattr(item.function, "settings", ())], (), set())
    return ({step["need"] for step in steps if "need" in step} | set(item.function.__code__.co_names)) & set(CONTRACT)


def scene(name, value=None):
    """A scene for cases in Python: a fixture that is one of its names, or has them all."""
    def play(telling):
        telling.tell([name])
        names = types.SimpleNamespace(**telling.names, **telling.members, names=telling.names)
        return names if value is None else getattr(names, value)
    return pytest.fixture(play)


def script_case(settings, steps):
    """A case of a class, from its settings and its steps; without steps one whose rows bring them."""
    if steps:
        return lambda self, telling: telling.tell(settings, steps)
    return lambda self, telling, steps: telling.tell(settings, steps)


def script(text):
    """Give a class the cases of a text that stands here."""
    first = sys._getframe(1).f_lineno               # of the decorator: its first line, or, before Python 3.9, of the class

    def give(cls):
        for number, sentence, settings, rule, steps, tables in script_cases(text):
            table = [(words, steps_of(steps, [words] + cells)) for words, cells in rows_of(tables)]
            settings = ["self." + name if hasattr(cls, name) else name for name in settings]       # fixtures of the class first
            case = script_case(settings, [] if table else steps_of(steps))
            case.__doc__, case.__name__, case.settings = rule, "test_" + re.sub(r"\W+", "_", sentence), settings
            case.sentence, case.text = sentence, steps + "\nx\n".join(
                "\n".join("| " + " | ".join(row).strip() for row in each) for each in tables).split("\n") * bool(table)
            case.__code__ = case.__code__.replace(co_firstlineno=first + number)
            assert not hasattr(cls, case.__name__), "two cases are called " + sentence
            for words, told in table or [("", steps_of(steps))]:
                TOLD.append({"line": first + number, "section": cls.__name__, "sentence": (sentence + " " + words).strip(),
                             "rule": rule, "settings": settings, "steps": told})
            setattr(cls, case.__name__, rows("steps", *table)(case) if table else case)
        return cls
    return give


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
    promised(server, "compact")


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
    """The first line of a request (http.c)."""

    @rows("line",
          ("as RFC 9112 has it", "GET {path} HTTP/1.1"),
          ("method in small letters", "get {path} HTTP/1.1"),
          ("without a version", "GET {path}"),
          ("HTTP/1.0", "GET {path} HTTP/1.0"),
          ("an unknown version and more words", "GET {path} HTTP/9.9 and more words"),
          ("blanks before and between", "  GET   {path}   HTTP/1.1"),
          ("tabs instead of blanks", "GET\t{path}\tHTTP/1.1"))
    def test_is_understood(self, ari, line):
        """Method and target end at blanks; the rest is not looked at (httpd_process_request)."""
        reply = ari.raw(head(line.format(path=ari.ping), ari.authorization))
        expect(reply, status=200, has={"ping": "pong"}, closes=False)
        assert reply.version == "HTTP/1.1"

    def test_may_end_with_a_bare_line_feed(self, ari):
        """LF ends a line as CR LF does (httpd_process_request)."""
        expect(ari.raw("GET %s HTTP/1.1\n%s\n\n" % (ari.ping, ari.authorization)), status=200)

    def test_needs_no_host(self, ari):
        """A request without Host is answered (httpd_process_request)."""
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization)), status=200)

    @rows("line",
          ("method alone", "GET"),
          ("method and a blank", "GET "),
          ("empty line", ""),
          ("blanks alone", "   "))
    def test_without_a_target_is_refused(self, ari, line):
        """No second word: HTML 400 at once, before any header is read (httpd_process_request)."""
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
        """What does not start with /ari is HTML 404 (handle_uri)."""
        line = "GET" + ari.ping if target is None else "GET " + target.format(path=ari.ping, bare=ari.ping[1:])
        expect(ari.raw(head(line + " HTTP/1.1", ari.authorization)), closes=False, **NOT_HERE)

    @rows("method", ("POST", "POST"), ("OPTIONS", "OPTIONS"), ("HEAD", "HEAD"), ("an unknown method", "PATCH"))
    def test_outside_ari_is_not_found_for_any_method(self, ari, method):
        """Outside /ari neither method nor credentials matter (handle_uri)."""
        expect(ari.request(method, target="/nothing-here?x=y", auth=None), headers={"WWW-Authenticate": None,
               "Allow": None}, **NOT_HERE)

    @rows("line_end, fill", ("with CR LF", "\r\n", 1), ("with LF", "\n", 0))
    def test_may_have_4095_bytes(self, ari, line_end, fill):
        """4095 bytes with the line end are read (MAX_HTTP_LINE_LENGTH)."""
        line = "GET %s?x= HTTP/1.1" % ari.ping
        line = line.replace("x=", "x=" + "y" * (4094 - fill - len(line)))
        expect(ari.raw(line + line_end + head(ari.authorization)), status=200)

    @rows("length", ("by one byte", 4096), ("by far", 9000))
    def test_beyond_4095_bytes_is_refused(self, ari, length):
        """More is HTML 400 and the end of the connection, before headers are read (httpd_process_request)."""
        line = "GET %s?x= HTTP/1.1" % ari.ping
        expect(ari.raw(head(line.replace("x=", "x=" + "y" * (length - 2 - len(line))))), status=400,
               page="Request line too long", closes=True)

    @rows("text", ("nothing at all was sent but a word", "GET"), ("the target has begun", "GET /ari/asterisk"))
    def test_that_ends_with_the_connection_is_a_timeout(self, ari, text):
        """End of the stream inside the line is told as silence is: HTML 400 Timeout (httpd_process_request)."""
        expect(ari.raw(text, half_close=True), status=400, page="Timeout", closes=True)


class TestHeaderLines:
    """The fields of a head (http.c)."""

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
        """Name before the first colon, value trimmed, other lines skipped (http_request_headers_get)."""
        lines = lines.replace("{basic}", basic(setting("ARI_AUTH")))
        expect(ari.raw("GET %s HTTP/1.1\r\n%s" % (ari.ping, lines)), status=200, closes=False)

    @rows("lines",
          ("a blank before the name", " Authorization: {basic}\r\n\r\n"),
          ("a value folded to the next line", "Authorization: Basic\r\n {token}\r\n\r\n"))
    def test_do_not_hold_credentials_with(self, ari, lines):
        """A leading blank belongs to the name, and there is no folding (http_request_headers_get)."""
        value = basic(setting("ARI_AUTH"))
        lines = lines.replace("{basic}", value).replace("{token}", value.split()[1])
        expect(ari.raw("GET %s HTTP/1.1\r\n%s" % (ari.ping, lines)), **UNAUTHORIZED)

    def test_may_be_100_fields(self, ari):
        """100 fields are read (MAX_HTTP_REQUEST_HEADERS)."""
        fields = ["X-%d: v" % number for number in range(99)]
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization, *fields)), status=200)

    @rows("outside", ("a resource of ARI", False), ("a target outside ARI", True))
    def test_beyond_100_fields_are_refused_for(self, ari, outside):
        """The 101st field is HTML 413 and the end, whatever was asked for (httpd_process_request)."""
        fields = ["X-%d: v" % number for number in range(101)]
        expect(ari.raw(head("GET %s HTTP/1.1" % ("/nothing" if outside else ari.ping), *fields)), status=413,
               page="Too many headers", closes=True)

    def test_that_are_no_fields_do_not_count(self, ari):
        """Only name, colon and value make a field of the 100 (http_request_headers_get)."""
        lines = ["X-%d: v" % number for number in range(99)] + ["nothing", ": value", "Empty:"] * 3
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization, *lines)), status=200)

    def test_may_have_4095_bytes(self, ari):
        """4095 bytes with CR LF are read (MAX_HTTP_LINE_LENGTH)."""
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization, "X-Long: " + "z" * 4085)), status=200)

    @rows("length", ("by one byte", 4086), ("by far", 6000))
    def test_beyond_4095_bytes_are_refused(self, ari, length):
        """A longer header line is HTML 400 and the end of the connection (http_request_headers_get)."""
        expect(ari.raw("GET %s HTTP/1.1\r\nX-Long: %s\r\n" % (ari.ping, "z" * length)), status=400,
               page="Header line too long", closes=True)

    def test_that_end_with_the_connection_are_a_timeout(self, ari):
        """End of the stream inside the head is HTML 400 Timeout (http_request_headers_get)."""
        expect(ari.raw("GET %s HTTP/1.1\r\nHost: x" % ari.ping, half_close=True), status=400, page="Timeout",
               closes=True)


class TestTransferEncoding:
    """Codings of a body (http.c)."""

    @rows("value", ("identity", "identity"), ("Identity", "Identity"))
    def test_that_changes_nothing_is_taken(self, ari, value):
        """`identity` is as no Transfer-Encoding (get_transfer_encoding); ari_ref refuses it: a departure."""
        if STRICT:
            pytest.skip("a departure: refused by ari_ref, see TestAmbiguousFraming")
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization, "Transfer-Encoding: " + value)),
               status=200, closes=False)

    @rows("target, value",
          ("gzip", "PING", "gzip"), ("a list", "PING", "gzip, chunked"), ("outside ARI", "/nothing", "deflate"))
    def test_that_is_not_known_is_501(self, ari, target, value):
        """Another coding is HTML 501, before credentials and target are looked at (httpd_process_request)."""
        target = target.replace("PING", ari.ping)
        expect(ari.raw(head("GET %s HTTP/1.1" % target, "Transfer-Encoding: " + value)), status=501,
               phrase="Unimplemented", page="Unsupported Transfer-Encoding.", closes=True)

    @rows("field", ("that is bad", "Content-Length: bad"), ("with a blank before the colon", "Content-Length : 2"),
          ("that is empty", "Content-Length:"))
    def test_is_looked_at_before_the_length(self, ari, field):
        """An unknown coding is told before a Content-Length (httpd_process_request)."""
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, field, "Transfer-Encoding: x")), status=501,
               phrase="Unimplemented", closes=True)


class TestContentLength:
    """The length of a body (http.c)."""

    @rows("target, value",
          ("letters", "PING", "abc"), ("below zero", "PING", "-5"), ("above 31 bits", "PING", "2147483648"),
          ("letters, outside ARI", "/nothing", "abc"))
    def test_that_is_no_number_is_refused(self, ari, target, value):
        """No digits, or a negative number of 32 bits: HTML 400 before credentials (get_content_length)."""
        expect(ari.raw(head("GET %s HTTP/1.1" % target.replace("PING", ari.ping), "Content-Length: " + value)),
               **BAD_LENGTH)

    def test_may_have_leading_zeros(self, ari):
        """025 is 25 (get_content_length)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: application/json",
                            "Content-Length: 025") + '{"maxDurationSeconds":-1}'), **NEGATIVE)

    @rows("target, content_type, expected",
          ("another type than form and JSON", "PING", "text/plain", {"status": 200}),
          ("no type", "PING", None, {"status": 200}),
          ("a target outside ARI", "/nothing", "application/json", NOT_HERE))
    def test_of_a_body_that_nobody_reads_is_skipped(self, ari, target, content_type, expected):
        """A body of no use is thrown away and the connection goes on after it (ast_http_body_discard)."""
        fields = ["Content-Type: " + content_type] if content_type else []
        request = head("GET %s HTTP/1.1" % target.replace("PING", ari.ping), ari.authorization, "Content-Length: 10",
                       *fields)
        expect(ari.raw(request + "0123456789"), closes=False, **expected)


class TestAmbiguousFraming:
    """A head that two readers could read differently: departure 2."""

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

class TestStatusPage:
    """The page of the server itself (http.c)."""

    @rows("target", ("its name", "/httpstatus"), ("any case", "/HttpStatus"),
          ("a slash behind it", "/httpstatus/"), ("a query", "/httpstatus?a=b"))
    def test_is_there_by(self, ari, target):
        """200 with a page, for whoever asks, and without a type (httpstatus_callback)."""
        reply = ari.raw(head("GET %s%s HTTP/1.1" % (ari.path("").rpartition("/ari")[0], target)))
        expect(reply, status=200, closes=False)
        assert b"<html>" in reply.body and "content-type" not in {name.lower() for name, _ in reply.headers}

    @rows("method", ("POST", "POST"), ("PUT", "PUT"), ("DELETE", "DELETE"), ("OPTIONS", "OPTIONS"))
    def test_has_no_other_method(self, ari, method):
        """501 and a page (httpstatus_callback)."""
        line = "%s %s/httpstatus HTTP/1.1" % (method, ari.path("").rpartition("/ari")[0])
        expect(ari.raw(head(line, "Content-Length: 0")), status=501, page="Attempt to use unimplemented / unsupported method", closes=False)

    def test_is_all_there_is(self, ari):
        """Nothing is below it (handle_uri)."""
        expect(ari.raw(head("GET %s/httpstatus/x HTTP/1.1" % ari.path("").rpartition("/ari")[0])), status=404, closes=False)


class TestConnection:
    """A connection, and when it ends (http.c)."""

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
        """Only a first Connection field that is exactly close ends it (httpd_process_request)."""
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
        """Connection: close is answered in kind, and the connection ends (ast_http_send)."""
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
        """After Connection: close later requests are not answered (httpd_helper_thread)."""
        again = head("GET %s HTTP/1.1" % ari.ping, ari.authorization)
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization, "Connection: close") + again), status=200,
               closes=True)

    def test_goes_on_right_after_a_body_that_was_read(self, ari):
        """The next request starts at the byte after the body (http_body_read_contents)."""
        first = head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: application/json",
                     "Content-Length: 25") + '{"maxDurationSeconds":-1}'
        reply = ari.raw(first + head("GET %s HTTP/1.1" % ari.ping, ari.authorization))
        expect(reply, **NEGATIVE)
        expect(reply.connection.reply("the second request of a pair"), status=200)

    def test_takes_a_line_end_after_a_body_for_a_request(self, ari):
        """CR LF after a body is the next, empty, request line: HTML 400 (httpd_process_request)."""
        first = head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: application/json",
                     "Content-Length: 25") + '{"maxDurationSeconds":-1}\r\n'
        reply = ari.raw(first)
        expect(reply, **NEGATIVE)
        expect(reply.connection.reply("CR LF after the body"), status=400, page="Invalid Request", closes=True)

    def test_that_is_half_closed_after_a_request_gets_its_answer(self, ari):
        """End of the stream after a whole request does not matter to it (httpd_process_request)."""
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.ping, ari.authorization), half_close=True), status=200)

    def test_that_is_half_closed_inside_a_body_gets_400(self, ari):
        """A body that does not come is 400 and the end of the connection (http_body_read_contents)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: application/json",
                            "Content-Length: 25") + '{"max', half_close=True), closes=True, **UNPARSED)


class TestAnswer:
    """What every answer has (http.c)."""

    @rows("asked, expected, fields",
          ("a success", ("GET", "/asterisk/ping"), {"status": 200}, {"Content-type": "application/json"}),
          ("no content", ("DELETE", "/deviceStates/Stasis:none"), {"status": 204, "body": b""}, {"Content-Length": "0",
           "Content-type": None}),
          ("an unknown resource", ("GET", "/nothing"), NO_RESOURCE, {"Content-type": "application/json"}),
          ("an unknown method", ("HEAD", "/channels"), {"status": 405, "json": message("Invalid method")},
           {"Content-type": "application/json", "Allow": "OPTIONS,GET,POST"}))
    def test_says_who_when_and_that_it_is_not_to_be_kept(self, ari, asked, expected, fields):
        """Server, Date and Cache-Control are on every answer; a type only with a body (ast_http_send)."""
        date = re.compile(r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT")
        fields = dict(fields, Date=date, Server=re.compile(r"\S.*"), **{"Cache-Control": "no-cache, no-store"})
        expect(ari.request(*asked), headers=fields, **expected)

    @rows("path, auth, expected",
          ("405", "/channels", UNSET, {"status": 405, "json": message("Invalid method")}),
          ("404", "/nothing", UNSET, NO_RESOURCE),
          ("401", "/channels", None, UNAUTHORIZED))
    def test_to_head_carries_the_body_of_the_error(self, ari, path, auth, expected):
        """Errors have their body for HEAD too, and no resource has HEAD (ast_http_send)."""
        expect(ari.request("HEAD", path, auth=auth), closes=False, **expected)

    @rows("asked, names",
          ("a success", ("GET", "/asterisk/ping"), "Server Date Cache-Control Content-type Content-Length"),
          ("no content", ("DELETE", "/deviceStates/Stasis:none"), "Server Date Cache-Control Content-Length"),
          ("an unknown method", ("PATCH", "/channels"), "Server Date Cache-Control Allow Content-type Content-Length"),
          ("options", ("OPTIONS", "/channels"), "Server Date Cache-Control Allow Content-Length"))
    def test_has_its_fields_in_order(self, ari, asked, names):
        """Names in this case and order (ast_http_send)."""
        reply = expect(ari.request(*asked), grade="exact")
        if [name for name, _ in reply.headers] != names.split():
            fail(reply.request, names, " ".join(name for name, _ in reply.headers))

    def test_that_refuses_credentials_has_its_fields_in_order(self, ari, allowed_origin):
        """The challenge comes after the CORS fields and before the type (ast_http_send)."""
        names = ("Server Date Connection Cache-Control Access-Control-Allow-Origin Access-Control-Allow-Credentials "
                 "WWW-Authenticate Content-type Content-Length")
        reply = expect(ari.get("/channels", auth=None, headers=[("Origin", allowed_origin), ("Connection", "close")]),
                       grade="exact", **UNAUTHORIZED)
        if [name for name, _ in reply.headers] != names.split():
            fail(reply.request, names, " ".join(name for name, _ in reply.headers))

    def test_that_is_an_error_page_has_these_bytes(self, ari):
        """The page of an error outside ARI (ast_http_create_response)."""
        reply = expect(ari.request("GET", target="/nothing-here"), grade="exact", status=404)
        lines = ('<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">', "<html><head>", "<title>404 Not Found</title>",
                 "</head><body>", "<h1>Not Found</h1>", "<p>The requested URL was not found on this server.</p>",
                 "<hr />", "<address>%s</address>" % reply.header("Server"), "</body></html>", "")
        expect(reply, body="\r\n".join(lines).encode())


@script("""
    refuses Body, credentials, slash, API description, resource, OPTIONS, method
        %1 -> %2
        | a bad body before missing credentials | POST /nothing as nobody body application/json: { | 400 "Error parsing request body"
        | a bad body before wrong credentials | POST /nothing as nobody:wrong body application/json: { | 400 "Error parsing request body"
        | a bad body before a trailing slash | POST /nothing/ body application/json: { | 400 "Error parsing request body"
        | a bad body before an unknown resource | POST /nothing body application/json: { | 400 "Error parsing request body"
        | a bad body before OPTIONS | OPTIONS /channels body application/json: [ | 400 "Error parsing request body"
        | a bad body before the API description | POST /api-docs/x body application/json: { | 400 "Error parsing request body"
        | credentials before a trailing slash | GET /channels/ as nobody:x | 401 "Authentication required"
        | credentials before an unknown resource | GET /nothing as nobody | 401 "Authentication required"
        | credentials before an unknown method | PATCH /channels as nobody | 401 "Authentication required"
        | credentials before OPTIONS | OPTIONS /channels as nobody | 401 "Authentication required"
        | credentials before the API description | GET /api-docs/x as nobody | 401 "Authentication required"
        | credentials on the root | GET ~/ari as nobody | 401 "Authentication required"
        | a trailing slash before the API description | POST /api-docs/x/ | 404 "ARI URLs do not end with a slash. Try /ari/api-docs/x"
        | a trailing slash before an unknown resource | GET /nothing/ | 404 "ARI URLs do not end with a slash. Try /ari/nothing"
        | a trailing slash before OPTIONS | OPTIONS /channels/ | 404 "ARI URLs do not end with a slash. Try /ari/channels"
        | an unknown resource before OPTIONS | OPTIONS /nothing | 404 "Resource not found"
        | an unknown resource before an unknown method | PATCH /nothing | 404 "Resource not found"
        | an unknown method before the channel | GET /channels/none/play | 405 "Invalid method"
    refuses a reader [read_only] A read_only user has GET and OPTIONS; 403 comes before 404 and 405
        %1 as {read_only} -> 403 "Write access denied"
        | writing before an unknown resource | POST /nothing || writing before a trailing slash | POST /nothing/
        | writing before an unknown method | POST /endpoints || writing before the API description | POST /api-docs/none.json
        | PATCH | PATCH /channels || TRACE of an unknown resource | TRACE /nothing
        | PUT | PUT /deviceStates/Stasis:none || DELETE | DELETE /channels/none || a user event | POST /events/user/x
        | the event socket with POST | POST /events
    answers a reader [read_only] What a read_only user gets answered like anybody
        %1 as {read_only} %2 -> %3
        %4
        | GET | GET /asterisk/ping | | 200 || OPTIONS | OPTIONS /channels | | 204 || GET of an unknown resource | GET /nothing | | 404 "Resource not found"
        | GET where there is only POST | GET /channels/x/play | | 405 | header Allow: OPTIONS,POST
        | POST outside ARI | POST ~/nothing | | 404 page "The requested URL was not found on this server."
        | GET of the event socket | GET /events | | 426 page ""
        | a bad body first | POST /bridges | body application/json: { | 400 "Error parsing request body"
""")
class TestOrderOfChecks:
    """What is looked at first (res_ari.c, ast_ari_callback)."""

    def test_refuses_a_reader_head(self, ari, read_only):
        """As any method but GET and OPTIONS, with a body."""
        expect(ari.request("HEAD", "/channels", auth=read_only), status=403, json=message("Write access denied"))


# --- HTTP: paths and resources ---

DEVICE = "/deviceStates/"       # GET answers with the name that it understood


@script("""
    segment is decoded Segments are split at slashes first and decoded one by one (utils.c, ast_uri_decode)
        GET /deviceStates/%1 -> 200 {"name": "%2"}
        | %3A is a colon | Stasis%3Aa | Stasis:a || plus is a blank, %2B is a plus | a+b%2Bc | a b+c
        | %2F is a slash inside the segment | a%2Fb | a/b || %2f in small letters too | a%2fb | a/b || controls | a%20b%09c | a b\\tc
        | UTF-8, escaped | caf%C3%A9 | caf\u00e9 || UTF-8 as it is | caf\u00e9 | caf\u00e9
        | quote, backslash, newline, DEL | %22%5C%0A%7F | \\"\\\\\\n\x7f || decoded once | %253A | %3A
        | no escape: %zz stays | a%zzb | a%zzb || no escape: % at the end stays | a% | a% || no escape: one digit at the end stays | a%4 | a%4
        | one digit and a letter: both go | a%1gb | a\\u0001b || % before an escape stays | %%41 | %A
        | a question mark, escaped | a%3Fb | a?b || %00 ends the segment | a%00b | a
    is compared exactly, but for /ari itself Behind decoding (http.c, handle_uri; ast_ari_invoke)
        GET ~%1 -> %2
        | of ari does not matter | /ARI/asterisk/ping | 200 || of a fixed segment matters | /ari/ASTERISK/ping | 404 "Resource not found"
        | of a fixed segment, escaped letter | /ari/%61sterisk/ping | 200
    with a trailing slash is refused A last slash is 404 and says the raw path without it (remove_trailing_slash)
        GET %1 -> 404 "ARI URLs do not end with a slash. Try /ari%2"
        | a resource | /asterisk/ping/ | /asterisk/ping || a resource, with a query | /channels/?x=1 | /channels || an unknown one | /nothing/ | /nothing
        | an empty segment | // | / || an empty segment inside | /channels//c1/ | /channels//c1 || written as escapes | /x%20y/ | /x%20y
    that only looks like a trailing slash The slash is looked for in the raw path
        GET %1 -> %2
        | an escaped slash is none | /channels%2F | 404 "Resource not found" || an escaped slash is a channel's id | /channels/%2F | 404 "Channel not found"
        | an id of one NUL is empty | /channels/%00 | 404 "Channel not found"
    ends at an empty segment The walk along the path stops at the first one (ast_ari_invoke)
        OPTIONS %1 -> 204
        header Allow: %2
        | in a collection | /deviceStates//x | OPTIONS,GET || below asterisk | /asterisk/logging//x | OPTIONS,GET || at the start | //channels | OPTIONS
    prefers a fixed segment to a wildcard Children are tried in declared order (ast_ari_invoke)
        GET %1 -> %2
        header Allow: %3
        | create is no channel | /channels/create | 405 | OPTIONS,POST || externalMedia is no channel | /channels/externalMedia | 405 | OPTIONS,POST
        | sendMessage is no technology | /endpoints/sendMessage | 405 | OPTIONS,PUT
        | nothing below create | /channels/create/more | 404 "Resource not found"
        | not even what a channel has | /channels/create/play | 404 "Resource not found"
        | and nothing else | /channels/externalMedia/x/zzz | 404 "Resource not found"
        | nothing below sendMessage | /endpoints/sendMessage/x | 404 "Resource not found" || live is no recording | /recordings/x | 404 "Resource not found"
        | nothing below a log channel but rotate | /asterisk/logging/x/y | 404 "Resource not found"
        | nothing below control | /playbacks/p/control/x | 404 "Resource not found"
    gives a segment that is fixed to no wildcard [departure] Asterisk goes back to the wildcard when the literal before it leads nowhere (departure 12)
        %1 -> 404 "Resource not found"
        | not the channel below it | GET /channels/externalMedia/x || nor what a channel has | OPTIONS /channels/externalMedia/x/record
""")
class TestPath:
    """How a path is read (res_ari.c)."""


@script("""
    can not be shown A reply that would have to quote it is 500 (res_ari.c, ast_ari_response_error)
        GET /deviceStates/Stasis:%1 -> 500 "Error building response"
        | a stray byte | %FF || a character cut short | %C3 || an overlong form | %C0%80 || a surrogate | %ED%A0%80 || above U+10FFFF | %F4%90%80%80
    is harmless where it is only looked up What need not be shown is answered as ever
        GET %1 -> %2
        | an escaped path is quoted as escapes | /x%FF/ | 404 "ARI URLs do not end with a slash. Try /ari/x%FF"
        | an unknown resource | /x%FF | 404 "Resource not found" || an unknown bridge | /bridges/%FF | 404 "Bridge not found"
        | a variable that is not set | /asterisk/variable?variable=%FF | 200 = {"value": ""} || a parameter that nobody uses | /asterisk/ping?%FF=%FF | 200
    is refused where it would be kept [departure] Names and ids are UTF-8: else 400, and nothing changes; Asterisk keeps them and breaks lists with them
        %1 -> 400 "Invalid UTF-8"
        | a bridge's name | POST /bridges?bridgeId=$x&name=%FFx || a bridge's id in the query | POST /bridges?bridgeId=$x%C3
        | a bridge's id in the path | POST /bridges/$x%E2%82 || a device's name | PUT /deviceStates/Stasis:$x%FF?deviceState=BUSY
        | a global variable's value | POST /asterisk/variable?variable=$x&value=%FF
        | a channel's id | POST /channels?endpoint=Local/1@none&app=none&channelId=$x%80
""")
class TestTextThatIsNotUtf8:
    """Text that JSON cannot hold (json.c)."""

    def test_in_a_path_with_a_trailing_slash_leaves_the_reply_empty(self, ari):
        """The message would quote the path: 404 without a type and a body (res_ari.c, remove_trailing_slash)."""
        expect(ari.raw(head("GET %s/x\xff/ HTTP/1.1" % ari.path(""), ari.authorization)), status=404, body=b"",
               headers={"Content-type": None, "Content-Length": "0"}, closes=False)


# The resources that have no operation of their own, with their Allow.
BARE = ("", "/asterisk", "/asterisk/config", "/asterisk/config/dynamic", "/asterisk/config/dynamic/{configClass}",
        "/asterisk/config/dynamic/{configClass}/{objectType}", "/events", "/events/user", "/playbacks", "/recordings",
        "/recordings/live")
# The 98 operations in the order of the API description: method, path, nickname, type of the reply (codes of errors), and the
# parameters that do not stand in the path.  name! is required, name[] may have several values, +name stands in the body, :type is
# not a string, =default, {allowed}.
OPERATIONS = """
GET /asterisk/config/dynamic/{configClass}/{objectType}/{id} getObject List[ConfigTuple](404)
PUT /asterisk/config/dynamic/{configClass}/{objectType}/{id} updateObject List[ConfigTuple](400,403,404)
    +fields:containers
DELETE /asterisk/config/dynamic/{configClass}/{objectType}/{id} deleteObject void(403,404)
GET /asterisk/info getInfo AsteriskInfo only[]{build|system|config|status}
GET /asterisk/ping ping AsteriskPing
GET /asterisk/modules listModules List[Module]
GET /asterisk/modules/{moduleName} getModule Module(404,409)
POST /asterisk/modules/{moduleName} loadModule void(409)
DELETE /asterisk/modules/{moduleName} unloadModule void(404,409)
PUT /asterisk/modules/{moduleName} reloadModule void(404,409)
GET /asterisk/logging listLogChannels List[LogChannel]
POST /asterisk/logging/{logChannelName} addLog void(400,409) configuration!
DELETE /asterisk/logging/{logChannelName} deleteLog void(404)
PUT /asterisk/logging/{logChannelName}/rotate rotateLog void(404)
GET /asterisk/variable getGlobalVar Variable(400) variable!
POST /asterisk/variable setGlobalVar void(400) variable! value
GET /endpoints list List[Endpoint]
PUT /endpoints/sendMessage sendMessage void(400,404) to! from! body +variables:containers
GET /endpoints/{tech} listByTech List[Endpoint](404)
GET /endpoints/{tech}/{resource} get Endpoint(400,404)
PUT /endpoints/{tech}/{resource}/sendMessage sendMessageToEndpoint void(400,404) from! body +variables:containers
GET /channels list List[Channel]
POST /channels originate Channel(400,409) endpoint! extension context priority:long label app appArgs callerId
    timeout:int=30 +variables:containers channelId otherChannelId originator formats
POST /channels/create create Channel(409) endpoint! app! appArgs channelId otherChannelId originator formats
    +variables:containers
GET /channels/{channelId} get Channel(404)
POST /channels/{channelId} originateWithId Channel(400,409) endpoint! extension context priority:long label app
    appArgs callerId timeout:int=30 +variables:containers otherChannelId originator formats
DELETE /channels/{channelId} hangup void(400,404)
    reason=normal{normal|busy|congestion|no_answer|timeout|rejected|unallocated|normal_unspecified|
        number_incomplete|codec_mismatch|interworking|failure|answered_elsewhere}
POST /channels/{channelId}/continue continueInDialplan void(404,409,412) context extension priority:int label
POST /channels/{channelId}/move move void('404','409') app! appArgs
POST /channels/{channelId}/redirect redirect void(400,404,409,422,412) endpoint!
POST /channels/{channelId}/answer answer void(404,409,412)
POST /channels/{channelId}/ring ring void(404,409,412)
DELETE /channels/{channelId}/ring ringStop void(404,409,412)
POST /channels/{channelId}/dtmf sendDTMF void(400,404,409,412) dtmf before:int=0 between:int=100 duration:int=100 after:int=0
POST /channels/{channelId}/mute mute void(404,409,412) direction=both{both|in|out}
DELETE /channels/{channelId}/mute unmute void(404,409,412) direction=both{both|in|out}
POST /channels/{channelId}/hold hold void(404,409,412)
DELETE /channels/{channelId}/hold unhold void(404,409,412)
POST /channels/{channelId}/moh startMoh void(404,409,412) mohClass
DELETE /channels/{channelId}/moh stopMoh void(404,409,412)
POST /channels/{channelId}/silence startSilence void(404,409,412)
DELETE /channels/{channelId}/silence stopSilence void(404,409,412)
POST /channels/{channelId}/play play Playback(404,409,412) media![] lang offsetms:int skipms:int=3000 playbackId
POST /channels/{channelId}/play/{playbackId} playWithId Playback(404,409,412) media![] lang offsetms:int skipms:int=3000
POST /channels/{channelId}/record record LiveRecording(400,404,409,422) name! format! maxDurationSeconds:int=0{0..}
    maxSilenceSeconds:int=0{0..} ifExists=fail{fail|overwrite|append} beep:boolean=false
    terminateOn=none{none|any|*|#}
GET /channels/{channelId}/variable getChannelVar Variable(400,404,409) variable!
POST /channels/{channelId}/variable setChannelVar void(400,404,409) variable! value
POST /channels/{channelId}/snoop snoopChannel Channel(400,404) spy=none{none|both|out|in}
    whisper=none{none|both|out|in} app! appArgs snoopId
POST /channels/{channelId}/snoop/{snoopId} snoopChannelWithId Channel(400,404) spy=none{none|both|out|in}
    whisper=none{none|both|out|in} app! appArgs
POST /channels/{channelId}/dial dial void(404,409) caller timeout:int=0{0..}
GET /channels/{channelId}/rtp_statistics rtpstatistics RTPstat(404)
POST /channels/externalMedia externalMedia Channel(400,409) channelId app! +variables:containers external_host!
    encapsulation=rtp{rtp} transport=udp{udp} connection_type=client{client} format! direction=both{both}
GET /bridges list List[Bridge]
POST /bridges create Bridge type bridgeId name
POST /bridges/{bridgeId} createWithId Bridge type name
GET /bridges/{bridgeId} get Bridge(404)
DELETE /bridges/{bridgeId} destroy void(404)
POST /bridges/{bridgeId}/addChannel addChannel void(400,404,409,422) channel![] role absorbDTMF:boolean=false
    mute:boolean=false
POST /bridges/{bridgeId}/removeChannel removeChannel void(400,404,409,422) channel![]
POST /bridges/{bridgeId}/videoSource/{channelId} setVideoSource void(404,409,422)
DELETE /bridges/{bridgeId}/videoSource clearVideoSource void(404)
POST /bridges/{bridgeId}/moh startMoh void(404,409) mohClass
DELETE /bridges/{bridgeId}/moh stopMoh void(404,409)
POST /bridges/{bridgeId}/play play Playback(404,409) media![] lang offsetms:int=0{0..} skipms:int=3000{0..}
    playbackId
POST /bridges/{bridgeId}/play/{playbackId} playWithId Playback(404,409) media![] lang offsetms:int=0{0..}
    skipms:int=3000{0..}
POST /bridges/{bridgeId}/record record LiveRecording(400,404,409,422) name! format! maxDurationSeconds:int=0{0..}
    maxSilenceSeconds:int=0{0..} ifExists=fail{fail|overwrite|append} beep:boolean=false
    terminateOn=none{none|any|*|#}
GET /recordings/stored listStored List[StoredRecording]
GET /recordings/stored/{recordingName} getStored StoredRecording(404)
DELETE /recordings/stored/{recordingName} deleteStored void(404)
GET /recordings/stored/{recordingName}/file getStoredFile binary(403,404)
POST /recordings/stored/{recordingName}/copy copyStored StoredRecording(404,409) destinationRecordingName!
GET /recordings/live/{recordingName} getLive LiveRecording(404)
DELETE /recordings/live/{recordingName} cancel void(404)
POST /recordings/live/{recordingName}/stop stop void(404)
POST /recordings/live/{recordingName}/pause pause void(404,409)
DELETE /recordings/live/{recordingName}/pause unpause void(404,409)
POST /recordings/live/{recordingName}/mute mute void(404,409)
DELETE /recordings/live/{recordingName}/mute unmute void(404,409)
GET /sounds list List[Sound] lang format
GET /sounds/{soundId} get Sound
GET /playbacks/{playbackId} get Playback(404)
DELETE /playbacks/{playbackId} stop void(404)
POST /playbacks/{playbackId}/control control void(400,404,409) operation!{restart|pause|unpause|reverse|forward}
GET /deviceStates list List[DeviceState]
GET /deviceStates/{deviceName} get DeviceState
PUT /deviceStates/{deviceName} update void(404,409)
    deviceState!{NOT_INUSE|INUSE|BUSY|INVALID|UNAVAILABLE|RINGING|RINGINUSE|ONHOLD}
DELETE /deviceStates/{deviceName} delete void(404,409)
GET /mailboxes list List[Mailbox]
GET /mailboxes/{mailboxName} get Mailbox(404)
PUT /mailboxes/{mailboxName} update void(404) oldMessages!:int newMessages!:int
DELETE /mailboxes/{mailboxName} delete void(404)
GET /events eventWebsocket Message app![] subscribeAll:boolean
POST /events/user/{eventName} userEvent void(404,422,400) application! source[] +variables:containers
GET /applications list List[Application]
GET /applications/{applicationName} get Application(404)
POST /applications/{applicationName}/subscription subscribe Application(400,404,422) eventSource![]
DELETE /applications/{applicationName}/subscription unsubscribe Application(400,404,409,422) eventSource![]
PUT /applications/{applicationName}/eventFilter filter Application(400,404) +filter:object
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
    """The resources and their methods (res_ari.c)."""

    @pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path or "/ari")
    def test_tells_its_methods(self, ari, path):
        """OPTIONS is 204 with OPTIONS first, then GET, POST, HEAD, PUT, DELETE (handle_options)."""
        expect(ari.options(example(path)), status=204, body=b"",
               headers={"Allow": ",".join(["OPTIONS"] + methods_of(path))})

    @pytest.mark.parametrize("path", RESOURCES, ids=lambda path: path or "/ari")
    def test_refuses_the_methods_that_it_has_not(self, ari, path):
        """405 with Allow for every other method, known or not (ast_ari_invoke)."""
        allow = ",".join(["OPTIONS"] + methods_of(path))
        for method in METHODS_IN_ALLOW + ("PATCH", "TRACE", "CONNECT", "X"):
            if method not in methods_of(path) and (path, method) != ("/events", "GET"):
                expect(ari.request(method, example(path)), status=405, json=message("Invalid method"),
                       headers={"Allow": allow})

    @pytest.mark.parametrize("path", [path for path in RESOURCES if path])
    def test_does_not_end_with_a_slash(self, ari, path):
        """Any resource with a slash behind is 404 (remove_trailing_slash)."""
        expect(ari.get(example(path) + "/"), status=404, json=message(SLASH % example(path)))


# --- HTTP: bodies ---

JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
NEGATIVE_JSON = '{"maxDurationSeconds":-1}'
NEGATIVE_FORM = "maxDurationSeconds=-1"


class TestContentType:
    """How a body is read (http.c)."""

    @rows("fields, body",
          ("application/json", ["Content-Type: application/json"], NEGATIVE_JSON),
          ("in capitals", ["content-type: APPLICATION/JSON"], NEGATIVE_JSON),
          ("with a charset", ["Content-Type: application/json; charset=utf-8"], NEGATIVE_JSON),
          ("with a charset that is not used", ["Content-Type: application/json;charset=latin-1"], NEGATIVE_JSON),
          ("the first of two", ["Content-Type: application/json", "Content-Type: text/plain"], NEGATIVE_JSON),
          ("form", ["Content-Type: application/x-www-form-urlencoded"], NEGATIVE_FORM),
          ("form with a charset", ["Content-Type: Application/X-WWW-Form-URLencoded; charset=utf-8"], NEGATIVE_FORM))
    def test_makes_a_body_be_read(self, ari, fields, body):
        """JSON and form by the type before the semicolon, in any case (get_content_type)."""
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
        """Any other type: the body is skipped without a word (get_content_type)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Length: %d" % len(body),
                            *fields) + body), closes=False, **NOT_NEGATIVE)

    def test_is_believed(self, ari):
        """A form that is sent as JSON is bad JSON (ast_http_get_json)."""
        expect(ari.post(PROBE, body=NEGATIVE_FORM, headers={"Content-Type": JSON_TYPE}), **UNPARSED)

    @rows("method, path, expected",
          ("GET", "GET", "/asterisk/variable", {"status": 200}),
          ("PUT", "PUT", "/deviceStates/x", {"status": 409}))
    def test_counts_for_any_method(self, ari, method, path, expected):
        """A body is read for every method, GET too (res_ari.c, ast_ari_callback)."""
        expect(ari.request(method, path, json={"variable": "EPOCH"}), **expected)


class TestBodySize:
    """How long a body may be (http.c)."""

    @rows("kind, body, expected",
          ("JSON of 40960 bytes is read", JSON_TYPE, " " * 40960, UNPARSED),
          ("form of 40960 bytes is read", FORM_TYPE, "x" * 40960, NOT_NEGATIVE),
          ("another type may be longer", "text/plain", "x" * 60000, NOT_NEGATIVE))
    def test_within_the_limit(self, ari, kind, body, expected):
        """40960 bytes are read, what nobody reads has no limit (MAX_CONTENT_LENGTH)."""
        expect(ari.post(PROBE, body=body, headers={"Content-Type": kind}), closes=False, **expected)

    @rows("path, kind, length, auth",
          ("JSON by one byte", PROBE, JSON_TYPE, 40961, UNSET),
          ("a form by one byte", PROBE, FORM_TYPE, 40961, UNSET),
          ("JSON by far", PROBE, JSON_TYPE, 2147483647, UNSET),
          ("JSON for an unknown resource, without credentials", "/nothing", JSON_TYPE, 40961, None))
    def test_beyond_the_limit_is_413(self, ari, path, kind, length, auth):
        """Content-Length alone decides, before credentials (ast_http_get_contents)."""
        fields = ["Content-Type: " + kind, "Content-Length: %d" % length] + [ari.authorization] * (auth is UNSET)
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(path), *fields)), **TOO_LARGE)

    def test_beyond_the_limit_in_chunks_is_413(self, ari):
        """The chunk size that takes the sum over the limit decides (http_body_get_chunk_length)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: " + JSON_TYPE,
                            "Transfer-Encoding: chunked") + '5\r\n{"a":\r\na000\r\n'), **TOO_LARGE)

    def test_outside_ari_has_no_limit(self, ari):
        """A body for a target outside ARI is skipped (ast_http_body_discard)."""
        expect(ari.request("POST", target="/nothing", body="x" * 60000, headers={"Content-Type": JSON_TYPE}),
               **NOT_HERE)


class TestChunkedBody:
    """A body in chunks (http.c)."""

    @rows("chunks",
          ("one chunk", "19\r\n%s\r\n0\r\n\r\n" % NEGATIVE_JSON),
          ("three chunks", '3\r\n{"m\r\n11\r\naxDurationSeconds\r\n5\r\n":-1}\r\n0\r\n\r\n'),
          ("extensions and trailers",
           '19;ext=1;b="c"\r\n%s\r\n0;last\r\nTrailer: x\r\nOther: y\r\n\r\n' % NEGATIVE_JSON),
          ("leading zeros", "0019\r\n%s\r\n000\r\n\r\n" % NEGATIVE_JSON))
    def test_is_put_together(self, ari, chunks):
        """Hexadecimal sizes, extensions and trailers as in RFC 9112 7.1 (http_body_get_chunk_length)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: " + JSON_TYPE,
                            "transfer-encoding: CHUNKED") + chunks), closes=False, **NEGATIVE)

    @rows("kind, chunks, expected",
          ("a form", FORM_TYPE, "15\r\n%s\r\n0\r\n\r\n" % NEGATIVE_FORM, NEGATIVE),
          ("no JSON at all", JSON_TYPE, "0\r\n\r\n", NOT_NEGATIVE),
          ("a type that nobody reads", "text/plain", "4\r\nwhat\r\n4\r\never\r\n0\r\n\r\n", NOT_NEGATIVE))
    def test_may_be(self, ari, kind, chunks, expected):
        """Chunks carry any body; only the last chunk is an empty one (http_body_read_contents)."""
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
          ("data ended by LF alone", "19\r\n%s\n0\r\n\r\n\r\n" % NEGATIVE_JSON),
          ("data ended by other characters", "19\r\n%sXX0\r\n\r\n" % NEGATIVE_JSON))
    def test_is_refused_with(self, ari, chunks):
        """A fault in the chunks is 400 and the end of the connection (http_body_get_chunk_length)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), ari.authorization, "Content-Type: " + JSON_TYPE,
                            "Transfer-Encoding: chunked") + chunks), closes=True, **UNPARSED)

    def test_is_refused_before_credentials(self, ari):
        """A bad chunk is told without credentials too (res_ari.c, ast_ari_callback)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path(PROBE), "Content-Type: " + JSON_TYPE,
                            "Transfer-Encoding: chunked") + "zz\r\n"), closes=True, **UNPARSED)

    @rows("target, expected", ("a resource", None, NOT_NEGATIVE), ("a target outside ARI", "/nothing", NOT_HERE))
    def test_with_a_fault_that_nobody_reads_ends_the_connection_after_the_answer_of(self, ari, target, expected):
        """The usual answer with Connection: close when a body can not be skipped (ast_http_body_discard)."""
        expect(ari.raw(head("POST %s HTTP/1.1" % (target or ari.path(PROBE)), ari.authorization,
                            "Transfer-Encoding: chunked") + "zz\r\n"), closes=True, **expected)


class TestJsonBody:
    """A body of JSON."""

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

USUAL["negative"] = message("max_duration_seconds cannot be negative")        # what PROBE tells of a value below zero


@script("""
    of the query Split at &, then at the first =, then decoded (http.c, handle_uri)
        POST /channels/none/record?%1 -> %2
        | the last of equals counts: positive | maxDurationSeconds=-1&maxDurationSeconds=1 | 404 "Channel not found"
        | names are case-sensitive | maxdurationseconds=-1 | 404 "Channel not found"
        | the last of equals counts: negative | maxDurationSeconds=1&maxDurationSeconds=-1 | 400 = negative {}
        | an empty last one counts | maxDurationSeconds=-1&maxDurationSeconds= | 404 "Channel not found"
        | a last one without equals sign counts | maxDurationSeconds=-1&maxDurationSeconds | 404 "Channel not found"
        | names are decoded | max%44uration%53econds=-1 | 400 = negative {} || values are decoded | maxDurationSeconds=%2D1 | 400 = negative {}
        | a blank before the name belongs to it | +maxDurationSeconds=-1 | 404 "Channel not found"
        | empty pieces are harmless | &&=&=x&?&maxDurationSeconds=-1& | 400 = negative {}
        | a semicolon is no separator | maxDurationSeconds=-1;x=y | 400 = negative {}
        | a second question mark belongs to the name | ?maxDurationSeconds=-1 | 404 "Channel not found"
        | a hash is an ordinary character | maxDurationSeconds=-1#x | 400 = negative {}
        | a value goes on after a second equals sign | x=maxDurationSeconds=-1 | 404 "Channel not found"
        | and may begin with one | maxDurationSeconds==-1 | 404 "Channel not found"
        | %00 ends a value | maxDurationSeconds=%00-1 | 404 "Channel not found" || %00 ends a name | maxDurationSeconds%00x=-1 | 400 = negative {}
    that are texts A text is the decoded value (utils.c, ast_uri_decode)
        POST /bridges/$b?%1 -> 200 {"name": "%2"}
        | plus and escapes | name=one+two%20three%2Bfour%26five | one two three+four&five || an equals sign | name=a=b=c | a=b=c
        | UTF-8 | name=caf%C3%A9 | caf\u00e9 || the last of three, empty | name=1&name=2&name=
    take precedence JSON body over query over form (res_ari_channels.c, ast_ari_channels_record_parse_body)
        POST /channels/none/record?%1 %2 -> %3
        | query over form: negative | maxDurationSeconds=-1 | form: maxDurationSeconds=1 | 400 = negative {}
        | query over form: positive | maxDurationSeconds=1 | form: maxDurationSeconds=-1 | 404 "Channel not found"
        | form where the query says nothing | x=y | form: maxDurationSeconds=-1 | 400 = negative {}
        | JSON over query: positive | maxDurationSeconds=-1 | {"maxDurationSeconds": 1} | 404 "Channel not found"
        | JSON over query: negative | maxDurationSeconds=1 | {"maxDurationSeconds": -1} | 400 = negative {}
        | a JSON null over query | maxDurationSeconds=-1 | {"maxDurationSeconds": null} | 404 "Channel not found"
        | a JSON text over query | maxDurationSeconds=-1 | {"maxDurationSeconds": "x"} | 404 "Channel not found"
        | query where JSON says nothing | maxDurationSeconds=-1 | {"other": 1} | 400 = negative {}
        | query with an empty object | maxDurationSeconds=-1 | {} | 400 = negative {}
        | query with a list | maxDurationSeconds=-1 | [{"maxDurationSeconds": 1}] | 400 = negative {}
    that are texts take precedence A JSON value that is no text is as none, and still replaces the query's (json.c, ast_json_string_get)
        POST /bridges/$b?name=q %1 -> 200 {"name": "%2"}
        | JSON over query | {"name": "j"} | j || query over form | form: name=f | q || a JSON null is absent and replaces the query | {"name": null}
        | a JSON number too | {"name": 17} || a JSON boolean too | {"name": true} || a JSON list too | {"name": ["a"]}
    of the path can not be overridden An id of the path is never taken from elsewhere (ari/resource_bridges.c)
        POST /bridges/$mine?bridgeId=$other {"bridgeId": "$other"} -> 200 {"id": "$mine"}
""")
class TestParameters:
    """Where parameters stand, and which counts."""


@script("""
    in the query is read as c atoi Blanks, a sign, decimal digits, the rest ignored, cut to 32 bits (stdlib atoi)
        POST /channels/none/record?maxDurationSeconds=%1 -> %2
        | minus one | -1 | 400 = negative {} || one | 1 | 404 "Channel not found" || empty | | 404 "Channel not found"
        | a sign alone | - | 404 "Channel not found" || letters | abc | 404 "Channel not found"
        | letters after digits | -3abc | 400 = negative {} || letters before digits | abc-3 | 404 "Channel not found"
        | blanks before it | %20%09-3 | 400 = negative {}
        | two signs | %2B-3 | 404 "Channel not found" || hexadecimal | -0x5 | 404 "Channel not found" || an exponent | -1e3 | 400 = negative {}
        | a fraction | -0.9 | 404 "Channel not found"
        | 32 bits are cut: 4294967295 is -1 | 4294967295 | 400 = negative {} || 2147483648 is negative | 2147483648 | 400 = negative {}
        | 4294967296 is 0 | 4294967296 | 404 "Channel not found" || 64 bits are a clamp: beyond is -1 | 99999999999999999999 | 400 = negative {}
        | below is 0 | -99999999999999999999 | 404 "Channel not found"
    in json is A JSON integer cut to 32 bits; anything else is 0 (json.c, ast_json_integer_get)
        POST /channels/none/record body application/json: {%1} -> %2
        | an integer | "maxDurationSeconds":-1 | 400 = negative {} || a text | "maxDurationSeconds":"-1" | 404 "Channel not found"
        | a real | "maxDurationSeconds":-1.5 | 404 "Channel not found"
        | null | "maxDurationSeconds":null | 404 "Channel not found" || a list | "maxDurationSeconds":[-1] | 404 "Channel not found"
        | a boolean | "maxDurationSeconds":true | 404 "Channel not found"
        | 4294967295 | "maxDurationSeconds":4294967295 | 400 = negative {} || 2147483648 | "maxDurationSeconds":2147483648 | 400 = negative {}
        | a name in another case | "MaxDurationSeconds":-1 | 404 "Channel not found"
        | the last of equal names: negative | "maxDurationSeconds":1,"maxDurationSeconds":-1 | 400 = negative {}
        | the last of equal names: positive | "maxDurationSeconds":-1,"maxDurationSeconds":1 | 404 "Channel not found"
    is checked in the order of the operation The maximum is looked at before maxSilenceSeconds (ari/resource_channels.c)
        POST /channels/none/record?maxSilenceSeconds=-1&maxDurationSeconds=-1 -> 400 = negative {}
        POST /channels/none/record?maxSilenceSeconds=-1 -> 400 "max_silence_seconds cannot be negative"
""")
class TestIntegerParameter:
    """A number."""


ALL_CHANNELS, ALL_BRIDGES = "__AST_CHANNEL_ALL_TOPIC", "__AST_BRIDGE_ALL_TOPIC"
ALL_ENDPOINTS, ALL_DEVICES = "__AST_ENDPOINT_ALL_TOPIC", "__AST_DEVICE_STATE_ALL_TOPIC"


class TestBooleanParameter:
    """A flag."""

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


@script("""
    in the query The last one, split at commas after decoding (app.h, AST_NONSTANDARD_APP_ARGS)
        POST /applications/{app}/subscription?%1 -> 200 {"device_names": [%2]}
        | one value | eventSource=deviceState:$a | "$a" || commas split | eventSource=deviceState:$a,deviceState:$b | "<any order>", "$a", "$b"
        | escaped commas split | eventSource=deviceState:$a%2CdeviceState:$b | "<any order>", "$a", "$b"
        | a repetition replaces | eventSource=deviceState:$a&eventSource=deviceState:$b | "$b"
    in a body A JSON list, or one text as it stands; a form as the query (ari/resource_applications.c)
        POST /applications/{app}/subscription%3 %1 -> 200 {"device_names": [%2]}
        | a list | {"eventSource": ["deviceState:$a", "deviceState:$b"]} | "<any order>", "$a", "$b" || one text | {"eventSource": "deviceState:$a"} | "$a"
        | a text is not split | {"eventSource": "deviceState:$a,x"} | "$a,x"
        | JSON replaces the query | {"eventSource": "deviceState:$a"} | "$a" | ?eventSource=bad:x
        | a form | form: eventSource=deviceState:$a,deviceState:$b | "<any order>", "$a", "$b"
    keeps empty values and blanks An empty value is one empty item, blanks are not trimmed: here both are bad URIs
        POST /applications/{app}/subscription?%1 -> 400 "Invalid event source URI scheme"
        | an empty value | eventSource= || no equals sign | eventSource || two empty ones | eventSource=, || blanks around | eventSource=%20deviceState:a%20
""")
class TestListParameter:
    """A list."""

    @rows("query, expected",
          ("127", "eventSource=" + ",".join(["x:"] * 127), "Invalid event source URI scheme"),
          ("128", "eventSource=" + ",".join(["x:"] * 128), "Too many values for event_source"),
          ("128, replaced by one", "eventSource=" + ",".join(["x:"] * 128) + "&eventSource=x:", "Too many values for event_source"))
    def test_of_128_values_is_refused_and_not_of_127(self, ari, events, query, expected):
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
    """The bytes of JSON."""

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
    """JSON with pretty = yes."""

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
    """User and password in a field."""

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
    def test_are_refused_with(self, ari, realm, change):
        """Anything else is 401 with a challenge (res_ari.c, authenticate_user)."""
        user, password = setting("ARI_AUTH").split(":", 1)
        expect(with_token(ari, change(user, password)), closes=False,
               headers={"WWW-Authenticate": 'Basic realm="%s"' % realm}, **UNAUTHORIZED)

    def test_that_are_missing_are_401(self, ari, realm):
        """No credentials: 401 with the realm (res_ari.c, ast_ari_callback)."""
        expect(ari.get("/asterisk/ping", auth=None), closes=False,
               headers={"WWW-Authenticate": 'Basic realm="%s"' % realm}, **UNAUTHORIZED)

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
    def test_never_let_in_a_user_without_a_password_with(self, ari, no_password, password):
        """A user whose password is empty can not log in (ari/config.c, ast_ari_config_validate_user)."""
        expect(with_token(ari, basic("%s:%s" % (no_password, password))), **UNAUTHORIZED)


@script("""
    is compared by crypt [crypted] With password_format = crypt, crypt(3) of the password equals the hash
        GET /asterisk/ping as {crypted} -> 200
    may write [crypted] A crypted password is as good as a plain one
        DELETE /deviceStates/Stasis:$none as {crypted} -> 204
""")
class TestCryptedPassword:
    """A password of which the configuration has a hash (ari/config.c, ast_crypt_validate)."""

    @rows("change", ("another case", str.swapcase), ("a blank more", lambda password: password + " "),
          ("nothing", lambda password: ""))
    def test_is_refused_with(self, ari, crypted, change):
        """A wrong password does not make the hash."""
        user, password = crypted.split(":", 1)
        expect(ari.get("/asterisk/ping", auth="%s:%s" % (user, change(password))), **UNAUTHORIZED)

    def test_is_not_the_hash_itself(self, ari, crypted):
        """Who knows the hash does not know the password."""
        if crypted != CONTRACT["crypted"][1]:
            pytest.skip("missing: a hash that is known (ARI_CRYPTED_AUTH is not %s)" % CONTRACT["crypted"][1])
        stored = re.search(r"password = (\$6\$\S+)", CONFIGURATION).group(1)
        expect(ari.get("/asterisk/ping", auth="%s:%s" % (crypted.split(":")[0], stored)), **UNAUTHORIZED)


@script("""
    is taken with [writer] Parameter api_key, name in any case, the first one counts
        GET /asterisk/ping?%1 as nobody -> 200
        | user and password | api_key={writer} || the name in capitals | API_KEY={writer} || the name in odd case | Api_Key={writer}
        | the name escaped | %61pi_key={writer} || the first of two | api_key={writer}&api_key=bad:bad
    is refused with [writer] Anything else is 401
        GET /asterisk/ping?%1 as nobody -> 401 "Authentication required"
        | a wrong password | api_key={writer}x || a colon more | api_key={writer}: || no colon | api_key=asterisk || nothing | api_key=
        | not even an equals sign | api_key || a colon alone | api_key=: || the second of two | api_key=bad:bad&api_key={writer}
        | the second of two in another case | api_key=bad:bad&API_KEY={writer} || another name | apikey={writer} || a blank before the user | api_key=+{writer}
    is only tried without basic [writer] Authorization decides when it is Basic with a colon (authenticate_user)
        with Authorization: %1
        GET /asterisk/ping?api_key={writer} as nobody -> %2
        | good, after a wrong Basic | Basic eDp5 | 401 "Authentication required" || good, after an empty Basic | Basic Og== | 401 "Authentication required"
        | good, after a Basic without a colon | Basic bm9jb2xvbg== | 200 || good, after another scheme | Bearer x | 200
        | good, after basic in small letters | basic eDp5 | 200
    is not looked at beside a good user Basic is enough (authenticate_user)
        GET /asterisk/ping?api_key=x:y -> 200
    may stand in [writer] Form, then query; not in JSON
        GET /bridges/$none%1 as nobody %2 -> %3
        | a form | | form: api_key={writer} | 404 || a form before the query: wrong | ?api_key={writer} | form: api_key=x:y | 401 "Authentication required"
        | a form before the query: good | ?api_key=x:y | form: API_KEY={writer} | 404 || not JSON | | {"api_key": "{writer}"} | 401 "Authentication required"
        | JSON beside the query | ?api_key={writer} | {"api_key": "x:y"} | 404
    may not stand in a header field [writer] It is a parameter
        with api_key: {writer}
        GET /bridges/$none as nobody -> 401 "Authentication required"
    of a reader may not write [read_only] The api_key's user is the user
        POST /bridges?api_key={read_only} as nobody -> 403 "Write access denied"
""")
class TestApiKey:
    """User and password as a parameter (res_ari.c, authenticate_api_key)."""

    def test_may_have_an_escaped_colon(self, ari):
        """The value is decoded."""
        expect(ari.get("/asterisk/ping", "api_key=" + quote_plus(setting("ARI_AUTH")), auth=None), status=200)

    def test_opens_an_event_socket(self, ari):
        """A browser can not set Authorization for a WebSocket; api_key does (res_ari.c, ast_ari_callback)."""
        expect(ari.handshake(query={"app": ari.app, "api_key": setting("ARI_AUTH")}, auth=None), status=101)


# --- CORS ---

def cors(origin, **more):
    """The header fields that an allowed origin gets."""
    return dict({"Access-Control-Allow-Origin": origin, "Access-Control-Allow-Credentials": "true"}, **more)


NO_CORS = dict.fromkeys("Access-Control-Allow-" + name for name in ("Origin", "Credentials", "Methods", "Headers"))


@script("""
    name an allowed origin [allowed_origin] Any answer under /ari says the origin and that credentials may be used
        with Origin: {allowed_origin}
        %1 -> %2
        header Access-Control-Allow-Origin: {allowed_origin}
        header Access-Control-Allow-Credentials: true
        | 200 | GET /asterisk/ping | 200 || 204 | DELETE /deviceStates/Stasis:none | 204
        | 400 | POST /bridges body application/json: { | 400 "Error parsing request body"
        | 401 | GET /asterisk/ping as nobody | 401 "Authentication required" || 404 | GET /nothing | 404 "Resource not found"
        | 404 for a slash | GET /channels/ | 404 || 404 for a document | GET /api-docs/none.json | 404 "Resource not found"
        | 405 | POST /endpoints | 405
    name an allowed origin when writing is denied [allowed_origin, read_only] 403 too
        with Origin: {allowed_origin}
        POST /bridges as {read_only} -> 403
        header Access-Control-Allow-Origin: {allowed_origin}
        header Access-Control-Allow-Credentials: true
    name no origin on [allowed_origin] HTML answers have no CORS fields (http.c, ast_http_error)
        with Origin: {allowed_origin}
        GET %1 -> %2
        header Access-Control-Allow-Origin:
        header Access-Control-Allow-Credentials:
        | an error page outside ARI | ~/nothing | 404 page "The requested URL was not found on this server." || the refusal of an upgrade | /events | 426
    name no origin for [allowed_origin, refused_origin] Origins are compared byte for byte, the field's name too (origin_allowed)
        with %1: %2
        GET /asterisk/ping -> 200
        header Access-Control-Allow-Origin:
        header Access-Control-Allow-Credentials:
        | a slash behind | Origin | {allowed_origin}/ || a port | Origin | {allowed_origin}:80 || null | Origin | null || nothing | Origin
        | an asterisk | Origin | *
        | a list | Origin | {allowed_origin},{allowed_origin} || the field's name in small letters | origin | {allowed_origin}
        | the field's name in capitals | ORIGIN | {allowed_origin} || a refused origin | Origin | {refused_origin}
    name the last of two origins [allowed_origin, refused_origin] Of several Origin fields the last counts
        with Origin: {refused_origin}
        with Origin: {allowed_origin}
        GET /asterisk/ping -> 200
        header Access-Control-Allow-Origin: {allowed_origin}
""")
class TestCorsOnAnswers:
    """What a page from elsewhere may see (res_ari.c, process_cors_request)."""

    def test_name_no_origin_whose_scheme_is_in_another_case(self, ari, allowed_origin, refused_origin):
        """Byte for byte."""
        expect(ari.get("/asterisk/ping", headers={"Origin": allowed_origin.replace("http", "HTTP")}), status=200, headers=NO_CORS)

    def test_name_an_allowed_origin_to_head(self, ari, allowed_origin):
        """405 too."""
        expect(ari.request("HEAD", "/channels", headers={"Origin": allowed_origin}), status=405, headers=cors(allowed_origin))

    def test_name_an_allowed_origin_when_the_body_is_too_large(self, ari, allowed_origin):
        """413 too."""
        expect(ari.raw(head("POST %s HTTP/1.1" % ari.path("/bridges"), "Origin: " + allowed_origin,
                            "Content-Type: " + JSON_TYPE, "Content-Length: 40961")), headers=cors(allowed_origin),
               **TOO_LARGE)


@script("""
    is granted for [allowed_origin] The methods are those of Allow, the wanted fields come back unchanged
        with Origin: {allowed_origin}
        with Access-Control-Request-Method: %2
        %4
        OPTIONS %1 -> 204
        header Allow: %3
        header Access-Control-Allow-Origin: {allowed_origin}
        header Access-Control-Allow-Methods: %3
        header Access-Control-Allow-Headers: %5
        | a method that there is | /channels | POST | OPTIONS,GET,POST || a method of an item | /channels/x | DELETE | OPTIONS,GET,POST,DELETE
        | fields that are wanted | /channels | POST | OPTIONS,GET,POST | with Access-Control-Request-Headers: content-type, x-thing | content-type, x-thing
        | fields as they were written | /channels/x/play | POST | OPTIONS,POST | with Access-Control-Request-Headers: A,b , C | A,b , C
        | an empty list of fields | /channels | POST | OPTIONS,GET,POST | with Access-Control-Request-Headers:
        | fields, the name in small letters | /channels | POST | OPTIONS,GET,POST | with access-control-request-headers: x
    is not granted for [allowed_origin] Only a method of the resource itself grants; the origin is named all the same
        with Origin: {allowed_origin}
        %2
        %3
        OPTIONS %1 -> 204
        header Access-Control-Allow-Origin: {allowed_origin}
        header Access-Control-Allow-Credentials: true
        header Access-Control-Allow-Methods:
        header Access-Control-Allow-Headers:
        | no method | /channels | with Access-Control-Request-Headers: x || an empty method | /channels | with Access-Control-Request-Method:
        | a method that there is not | /channels | with Access-Control-Request-Method: DELETE | with Access-Control-Request-Headers: x
        | a method in small letters | /channels | with Access-Control-Request-Method: post || OPTIONS | /channels | with Access-Control-Request-Method: OPTIONS
        | HEAD | /channels | with Access-Control-Request-Method: HEAD
        | the field's name in small letters | /channels | with access-control-request-method: POST
        | GET of the event socket | /events | with Access-Control-Request-Method: GET || the root | ~/ari | with Access-Control-Request-Method: GET
    means nothing for [refused_origin] Without an allowed origin it is an ordinary OPTIONS
        %1
        with Access-Control-Request-Method: POST
        with Access-Control-Request-Headers: x
        OPTIONS /channels -> 204
        header Allow: OPTIONS,GET,POST
        header Access-Control-Allow-Origin:
        header Access-Control-Allow-Methods:
        header Access-Control-Allow-Headers:
        | a refused origin | with Origin: {refused_origin} || no origin
    needs credentials [allowed_origin] A browser's preflight without credentials is 401, with the origin named (ast_ari_callback)
        with Origin: {allowed_origin}
        with Access-Control-Request-Method: POST
        OPTIONS /channels as nobody -> 401 "Authentication required"
        header Access-Control-Allow-Origin: {allowed_origin}
        header Access-Control-Allow-Credentials: true
    is granted to an api key [allowed_origin, writer] In the URL it is how a preflight passes (authenticate_api_key)
        with Origin: {allowed_origin}
        with Access-Control-Request-Method: POST
        OPTIONS /channels?api_key={writer} as nobody -> 204
        header Access-Control-Allow-Origin: {allowed_origin}
        header Access-Control-Allow-Methods: OPTIONS,GET,POST
    fields mean nothing on other methods [allowed_origin] Access-Control-Request-Method counts on OPTIONS alone
        with Origin: {allowed_origin}
        with Access-Control-Request-Method: GET
        GET /asterisk/ping -> 200
        header Access-Control-Allow-Methods:
""")
class TestCorsPreflight:
    """What a page from elsewhere may ask (res_ari.c, handle_options)."""

    def test_does_not_send_back_control_characters(self, departure, ari, allowed_origin):
        """Wanted fields with a control character are not echoed; Asterisk sends them back."""
        headers = {"Origin": allowed_origin, "Access-Control-Request-Method": "POST",
                   "Access-Control-Request-Headers": "a\x01b"}
        expect(ari.options("/channels", headers=headers), status=204, headers=cors(allowed_origin, **{
            "Access-Control-Allow-Methods": "OPTIONS,GET,POST", "Access-Control-Allow-Headers": None}))


# --- API description ---

DOCUMENTS = ("asterisk", "endpoints", "channels", "bridges", "recordings", "sounds", "playbacks", "deviceStates",
             "mailboxes", "events", "applications")
REQUIRED_MODULES = {"channels": "answer playback recording snoop", "bridges": "recording playback", "recordings": "recording",
                    "playbacks": "playback", "deviceStates": "device_state", "mailboxes": "mailbox"}     # each res_stasis_...


@pytest.fixture(scope="module")
def documents(server):
    """The eleven documents of the API description, by file name."""
    with Client(server, "t") as client:
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
        text += "{%s}" % ("|".join(allowed["values"]) if allowed["valueType"] == "LIST" else
                         "%s.." % allowed["min"] if allowed["valueType"] == "RANGE" else allowed)
    return text


def codes_notation(operation):
    """The codes of errors of an operation in the notation of OPERATIONS."""
    codes = [repr(error["code"]) for error in operation.get("errorResponses", [])]
    return "(%s)" % ",".join(codes) if codes else ""


class TestApiDescription:
    """The API description, as client generators read it (res_ari.c)."""

    @pytest.mark.parametrize("operation", OPERATION_ROWS, ids=lambda row: "%s %s" % (row.method, row.path))
    def test_declares(self, documents, operation):
        """Nickname, reply and parameters as in Asterisk 16's rest-api (rest-api/api-docs/*.json)."""
        found = [one for path, one in declared(documents[operation.document])
                 if (path, one["httpMethod"]) == (operation.path, operation.method)]
        actual = [" ".join([one["nickname"], one["responseClass"] + codes_notation(one)] + [
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
    def test_declares_in_this_order_and_nothing_else(self, documents, name):
        """The operations of a resource, path by path, in the order of Asterisk's file: client generators keep it."""
        actual = ["%s %s" % (one["httpMethod"], path) for path, one in declared(documents[name + ".json"])]
        wanted = ["%s %s" % (row.method, row.path) for row in OPERATION_ROWS if row.document == name + ".json"]
        if actual != wanted:
            fail("GET /ari/api-docs/%s.json" % name, ", ".join(wanted), ", ".join(actual))

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

    @pytest.mark.parametrize("name", DOCUMENTS)
    def test_names_the_modules_of(self, documents, name):
        """requiresModules, where a resource needs any."""
        wanted = ["res_stasis_" + word for word in REQUIRED_MODULES.get(name, "").split()]
        wanted = ["res_http_websocket"] if name == "events" else wanted or None
        if documents[name + ".json"].get("requiresModules") != wanted:
            fail("GET /ari/api-docs/%s.json" % name, str(wanted), str(documents[name + ".json"].get("requiresModules")))

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
        """basePath is http://<Host>/ari (ast_ari_get_docs)."""
        expect(ari.raw(head("GET %s HTTP/1.1" % ari.path("/api-docs/sounds.json"), ari.authorization, *fields)),
               status=200, has={"basePath": base})

    def test_has_no_base_path_without_a_host(self, ari):
        """Without Host the key is left out (ast_ari_get_docs)."""
        reply = ari.raw(head("GET %s HTTP/1.1" % ari.path("/api-docs/sounds.json"), ari.authorization))
        expect(reply, status=200)
        assert "basePath" not in reply.json

    @rows("path",
          ("a query", "/api-docs/resources.json?x=y"), ("an empty segment", "/api-docs//resources.json"),
          ("a dot", "/api-docs/./resources.json"))
    def test_is_found_with(self, ari, path):
        """Queries, empty segments and dots are harmless (ast_ari_get_docs)."""
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
        """Only the documents of the folder, by their exact names (ast_ari_get_docs)."""
        expect(ari.get(path), **expected)

    @rows("method", *[(method, method) for method in ("POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH")])
    def test_is_405_for(self, ari, method):
        """405 without Allow, before the name is looked at (ast_ari_get_docs)."""
        expect(ari.request(method, "/api-docs/nope.json"), status=405, json=message("Unsupported method"),
               headers={"Allow": None})

    @rows("method", ("POST", "POST"), ("OPTIONS", "OPTIONS"))
    def test_without_a_document_is_an_unknown_resource_for(self, ari, method):
        """/api-docs alone is none (ast_ari_invoke)."""
        expect(ari.request(method, "/api-docs"), **NO_RESOURCE)


# --- event socket: handshake ---

VERSION_REFUSED = {"status": 400, "body": b"", "headers": {"Sec-WebSocket-Version": "7, 8, 13", "Content-type": None,
                                                           "Content-Length": "0"}}
UPGRADE_REQUIRED = {"status": 426, "page": ""}


def accept_of(key):
    """RFC 6455 4.2.2: the answer to a key."""
    return base64.b64encode(hashlib.sha1((key + WEBSOCKET_MAGIC).encode("latin-1")).digest()).decode()


class TestHandshake:
    """How an event socket is opened (res_http_websocket.c)."""

    def test_is_answered_with_101_and_the_accept_key(self, ari):
        """The key of RFC 6455 1.3 gives s3pPLMBiTxaQ9kYGzzhZRbK+xOo= (RFC 6455 4.2.2)."""
        expect(ari.handshake(), status=101, headers={"Upgrade": "websocket", "Connection": "Upgrade",
               "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", "Sec-WebSocket-Protocol": None,
               "Sec-WebSocket-Extensions": None})

    def test_has_these_fields_in_order(self, ari):
        """Upgrade, Connection, Accept, Protocol, and no Server or Date."""
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
        """Connection, origin and extensions are not looked at; the last field counts."""
        expect(ari.handshake(change=change, more=more), status=101, headers={"Sec-WebSocket-Extensions": None})

    def test_repeats_the_upgrade_as_it_was_written(self, ari):
        """The client's value in the client's case (ast_websocket_uri_cb)."""
        expect(ari.handshake(change={"Upgrade": "WebSocket"}), status=101, headers={"Upgrade": "WebSocket"})

    @rows("change, more",
          ("no Upgrade", {"Upgrade": None}, []),
          ("no Upgrade and no Connection", {"Upgrade": None, "Connection": None}, []),
          ("an empty Upgrade", {"Upgrade": ""}, []),
          ("a list", {"Upgrade": "websocket, h2c"}, []),
          ("another protocol", {"Upgrade": "h2c"}, []),
          ("another protocol last", {}, ["Upgrade: h2c"]))
    def test_is_426_with(self, ari, change, more):
        """Upgrade must be websocket, in any case: else 426 (ast_websocket_uri_cb)."""
        expect(ari.handshake(change=change, more=more), closes=False, **UPGRADE_REQUIRED)

    @rows("key", ("one letter", "x"), ("no base64", "not base64 at all!"), ("a long text", "a" * 100))
    def test_takes_any_key(self, ari, key):
        """The accept key is computed over the text as sent (websocket_combine_key)."""
        expect(ari.handshake(change={"Sec-WebSocket-Key": key}), status=101,
               headers={"Sec-WebSocket-Accept": accept_of(key)})

    def test_takes_the_last_of_two_keys(self, ari):
        """A field sent twice: the last counts (ast_websocket_uri_cb)."""
        expect(ari.handshake(more=["Sec-WebSocket-Key: BBBBBBBBBBBBBBBBBBBBBB=="]), status=101,
               headers={"Sec-WebSocket-Accept": accept_of("BBBBBBBBBBBBBBBBBBBBBB==")})

    @rows("key", ("no key", None), ("an empty key", ""))
    def test_is_refused_with(self, ari, key):
        """No key: 400 with the versions and no body (websocket_bad_request)."""
        expect(ari.handshake(change={"Sec-WebSocket-Key": key}), closes=False, **VERSION_REFUSED)

    @rows("version", ("13", "13"), ("8", "8"), ("7", "7"), ("with leading zeros", "0013"), ("with letters", "13abc"),
          ("first of a list", "13, 12"), ("with a fraction", "8.5"))
    def test_takes_version(self, ari, version):
        """The leading number is 7, 8 or 13 (sscanf)."""
        expect(ari.handshake(change={"Sec-WebSocket-Version": version}), status=101)

    @rows("version", ("6", "6"), ("14", "14"), ("0", "0"), ("none", None), ("letters", "abc"), ("12 first", "12, 13"))
    def test_refuses_version(self, ari, version):
        """Other versions: 400 that says which there are (RFC 6455 4.4; res_http_websocket.c)."""
        expect(ari.handshake(change={"Sec-WebSocket-Version": version}), closes=False, **VERSION_REFUSED)

    @rows("protocol, chosen",
          ("ari", "ari", "ari"), ("in capitals", "ARI", "ARI"), ("second of a list", "foo,ari", "ari"),
          ("first of a list", "ari, foo", "ari"))
    def test_chooses_the_protocol(self, ari, protocol, chosen):
        """The first member that is ari, in any case, in the client's spelling."""
        expect(ari.handshake(change={"Sec-WebSocket-Protocol": protocol}), status=101,
               headers={"Sec-WebSocket-Protocol": chosen})

    @rows("protocol, line",
          ("kept before", "foo, ari", " ari"), ("dropped behind", "foo,  Ari , bar", "  Ari"))
    def test_blanks_around_the_protocol_are(self, ari, protocol, line):
        """Blanks before the member come back, those behind do not (ast_websocket_uri_cb)."""
        expect(ari.handshake(change={"Sec-WebSocket-Protocol": protocol}), grade="exact", status=101,
               headers={"Sec-WebSocket-Protocol": line})

    def test_needs_no_protocol(self, ari):
        """An empty list is as none."""
        expect(ari.handshake(change={"Sec-WebSocket-Protocol": ""}), status=101,
               headers={"Sec-WebSocket-Protocol": None})

    def test_takes_the_last_of_two_protocol_fields(self, ari):
        """A field sent twice: the last counts."""
        expect(ari.handshake(change={"Sec-WebSocket-Protocol": "foo"}, more=["Sec-WebSocket-Protocol: ari"]),
               status=101)

    @rows("change, more",
          ("another", {"Sec-WebSocket-Protocol": "echo"}, []),
          ("a list of others", {"Sec-WebSocket-Protocol": "foo, bar"}, []),
          ("another last", {"Sec-WebSocket-Protocol": "ari"}, ["Sec-WebSocket-Protocol: foo"]),
          ("ari with Key1 and Key2", {"Sec-WebSocket-Protocol": "ari", "Sec-WebSocket-Key1": "a",
                                      "Sec-WebSocket-Key2": "b"}, []))
    def test_refuses_protocol(self, ari, change, more):
        """A list without ari is 400; so are the fields of the draft before RFC 6455."""
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
        """Credentials, slash, Upgrade, protocol, version, key, app (ast_websocket_uri_cb)."""
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
          ("the last app is empty", "app={app}&app=", "Invalid application provided in param [app]."),
          ("there are 128 apps", "app=" + "," * 127, '{"message":"Too many values for app"}'),
          ("there were 128 apps, then one", "app=" + "," * 127 + "&app={app}", '{"message":"Too many values for app"}'))
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
    def test_is_405_for(self, ari, method, status, text):
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
    def test_is_401_with(self, ari, realm, auth):
        """401 as anywhere (res_ari.c, ast_ari_callback)."""
        user = setting("ARI_AUTH").split(":")[0]
        expect(ari.handshake(auth=auth and "%s:x%s" % (user, auth)), headers={
            "WWW-Authenticate": 'Basic realm="%s"' % realm}, **UNAUTHORIZED)

    def test_has_no_cors_fields(self, ari, allowed_origin):
        """101 names no origin."""
        expect(ari.handshake(change={"Origin": allowed_origin}), status=101, headers=NO_CORS)


class TestApplicationNames:
    """The parameter app of an event socket."""

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
    """Frames as Asterisk and RFC 6455 agree on them."""

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
    """Frames that RFC 6455 judges: departure 1."""

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
    """How an event socket ends."""

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


# --- event socket: a slow reader ---

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


class TestSlowReader:
    """A reader that does not read."""

    @pytest.fixture
    def ari(self, narrow_server):
        """The client of this case on a server that soon notices who does not read."""
        yield from client_of(narrow_server)

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

USUAL["application"] = {"channel_ids": [], "bridge_ids": [], "endpoint_ids": [], "device_names": [], "events_allowed": [],
                        "events_disallowed": []}
USUAL["everything"] = dict(USUAL["application"], channel_ids=[ALL_CHANNELS], bridge_ids=[ALL_BRIDGES], endpoint_ids=[ALL_ENDPOINTS],
                           device_names=[ALL_DEVICES])


def application_json(name, **members):
    """An application as ARI shows it, empty but for the given members."""
    return dict(USUAL["application"], name=name, **members)


def subscribe(ari, *sources, app=None, method="POST"):
    """POST (or DELETE) /applications/{app}/subscription, by default the case's own."""
    return ari.request(method, "/applications/%s/subscription" % quote(app or ari.app, safe=""),
                       {"eventSource": ",".join(sources)})


def set_filter(ari, body):
    """PUT /applications/{app}/eventFilter with this JSON."""
    return ari.put("/applications/%s/eventFilter" % ari.app, json=body)


@script("""
    is there when its socket is Shown with its name, subscriptions and filters (stasis/app.c, app_to_json)
        GET /applications/{app} -> 200 = application {"name": "{app}"}
    can be opened again A name can be used again (res_stasis.c, stasis_app_register)
        close
        open
        POST /events/user/again?application={app} -> 204
        await ChannelUserevent {"eventname": "again"}
    shares a socket with others Events say which application they are for (stasis/app.c, app_send)
        open $a,$b
        POST /events/user/x?application=$a -> 204
        await ChannelUserevent {"application": "$a"}
        POST /events/user/x?application=$b -> 204
        await ChannelUserevent {"application": "$b"}
    ends with a shared socket All applications of a socket go with it (ari/ari_websockets.c)
        open $a,$b
        close
        GET /applications/$a -> 404 "Application not found"
        GET /applications/$b -> 404 "Application not found"
    is not found by 404 (ari/resource_applications.c, ast_ari_applications_get)
        GET /applications/%1 -> 404 "Application not found"
        | an unknown name | $none || a name that is not UTF-8 | $none%FF
""")
class TestApplication:
    """An application comes and goes with its event socket."""

    def test_is_not_there_before_its_socket(self, ari):
        """An application exists from its handshake on (res_stasis.c, stasis_app_register)."""
        expect(ari.application(), status=404, json=message("Application not found"))

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


scenes("""
    kept [bridge] The application is subscribed to a bridge, and its socket has been closed
        POST /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200
        close
""")
kept = scene("kept")


@script("""
    stays for a subscription [kept] A channel, bridge or endpoint subscription keeps it (app_is_finished)
        GET /applications/{app} -> 200 = application {"name": "{app}", "bridge_ids": ["{bridge}"]}
    does not stay for a device state Device states do not count (app_is_finished)
        POST /applications/{app}/subscription?eventSource=deviceState:$d -> 200
        close
        GET /applications/{app} -> 404 "Application not found"
    does not stay for a filter Filters do not count (app_is_finished)
        PUT /applications/{app}/eventFilter {"disallowed": [{"type": "Dial"}]} -> 200
        close
        GET /applications/{app} -> 404 "Application not found"
    can be subscribed [kept] Subscriptions come and go as ever (ari/resource_applications.c)
        POST /applications/{app}/subscription?eventSource=deviceState:$d -> 200
            = application {"name": "{app}", "bridge_ids": ["{bridge}"], "device_names": ["$d"]}
        DELETE /applications/{app}/subscription?eventSource=deviceState:$d -> 200
            = application {"name": "{app}", "bridge_ids": ["{bridge}"]}
    can be filtered [kept] A filter can be set, and holds when the socket is there again (stasis_app_event_filter_set)
        PUT /applications/{app}/eventFilter {"disallowed": [{"type": "ChannelUserevent"}]} -> 200
        open
        GET /applications/{app} -> 200 {"events_disallowed": [{"type": "ChannelUserevent"}], "bridge_ids": ["{bridge}"]}
    is taken up again without a word [kept] Same subscriptions, no ApplicationReplaced (app_update)
        open
        GET /applications/{app} -> 200 {"bridge_ids": ["{bridge}"]}
        never ApplicationReplaced
        DELETE /bridges/{bridge} -> 204
        await BridgeDestroyed {bridge}
    goes when any application registers after its last subscription has ended [kept] It is swept out when any application registers next (res_stasis.c, cleanup)
        DELETE /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200 = application {"name": "{app}"}
        open $next
        GET /applications/{app} -> 404 "Application not found"
    keeps its channels [call] Its channels stay in Stasis and can be controlled (res_stasis.c, stasis_app_exec)
        close
        GET /applications/{app} -> 200 {"channel_ids": ["{far}", "{near}"]}
        POST /channels/{near}/variable?variable=X&value=kept -> 204
    gets no second start for its channels [call] Who takes it up again is not told of them (res_stasis.c, stasis_app_register)
        close
        open
        never StasisStart {near}
    leaves device states to a later application of its name Device state subscriptions are kept by name (res_stasis_device_state.c)
        POST /applications/{app}/subscription?eventSource=deviceState:Stasis:$d -> 200
        close
        open
        GET /applications/{app} -> 200 = application {"name": "{app}", "device_names": ["Stasis:$d"]}
        PUT /deviceStates/Stasis:$d?deviceState=BUSY -> 204
        await DeviceStateChanged {"device_state": "Stasis:$d"}
        DELETE /applications/{app}/subscription?eventSource=deviceState:Stasis:$d -> 200
    leaves no filter to a later application of its name Filters go with the application
        PUT /applications/{app}/eventFilter {"disallowed": [{"type": "ChannelUserevent"}]} -> 200
        close
        open
        GET /applications/{app} -> 200 = application {"name": "{app}"}
    is kept for ever by a subscription to all It can not be undone, and outlives the socket (app_is_finished)
        open $all all
        close
        GET /applications/$all -> 200 = everything {"name": "$all"}
""")
class TestInactiveApplication:
    """An application whose socket has been closed (stasis/app.c)."""

    def test_takes_user_events_and_loses_them(self, ari, kept):
        """204, and nothing is sent when the socket is there again (stasis/app.c, app_send)."""
        for _ in range(4):          # an Asterisk under load may still have the event at hand when the socket opens
            expect(ari.user_event("lost"), status=204)
            events = ari.events()
            events.marker()
            if not events.find("ChannelUserevent", eventname="lost"):
                return
            events.close()
        fail(events.request, "no event from the time without a socket", "ChannelUserevent lost")


@script("""
    keeps its subscriptions [bridge] They are the application's, not the socket's (app_update)
        POST /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200
        open
        GET /applications/{app} -> 200 = application {"name": "{app}", "bridge_ids": ["{bridge}"]}
    does not subscribe to all The parameter subscribeAll counts only when the application is made (app_create)
        open {app} all
        GET /applications/{app} -> 200 = application {"name": "{app}"}
    does not lose its subscription to all A new socket without subscribeAll leaves it (app_update)
        open $all all
        open $all
        GET /applications/$all -> 200 = everything {"name": "$all"}
    by itself is told first The same name twice in one handshake: the socket replaces itself and goes on (ari/ari_websockets.c)
        open $a,$a
        await ApplicationReplaced {"application": "$a"}
        POST /events/user/on?application=$a -> 204
        await ChannelUserevent {"eventname": "on"}
        close
        GET /applications/$a -> 404 "Application not found"
""")
class TestReplacedApplication:
    """An application that another socket takes (stasis/app.c)."""

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


# --- subscriptions ---

@script("""
    miss the event source in 400 before the application is looked for (ari/resource_applications.c)
        %3 /applications/$none/subscription%1 %2 -> 400 "Missing parameter eventSource"
        | none | | || an empty JSON list | | {"eventSource": []} || an empty object | | {}
        | an empty JSON list beside a good query | ?eventSource=deviceState:x | {"eventSource": []}
        x
        | to subscribe | POST || to unsubscribe | DELETE
    miss the application for 404 before the sources are looked at (stasis_app_subscribe)
        %2 /applications/$none/subscription?eventSource=%1 -> 404 "Application not found"
        | a good source | deviceState:x || a bad source | bad:x
        x
        | to subscribe to | POST || to unsubscribe from | DELETE
    do not know The scheme is channel:, bridge:, endpoint: or deviceState: (app_event_source_find)
        %2 /applications/{app}/subscription?eventSource=%1 -> 400 "Invalid event source URI scheme"
        | nothing | || no scheme | nosuch || an unknown scheme | bad:x || a scheme without colon | channel
        | a scheme in another case | Channel:x || another scheme in another case | devicestate:x || a blank before the scheme | +channel:x
        x
        | to subscribe to | POST || to unsubscribe from | DELETE
    do not find the 422 for what does not exist; any device state does (app_subscribe)
        POST /applications/{app}/subscription?eventSource=%1 -> 422 "Event source does not exist"
        | channel | channel:$none || bridge | bridge:$none || endpoint | endpoint:Local/$none || technology | endpoint:$none
    do not unsubscribe from the 422 for what was not subscribed to (app_unsubscribe)
        DELETE /applications/{app}/subscription?eventSource=%1 -> 422 "Event source was not subscribed to"
        | channel | channel:$none || bridge | bridge:$none || endpoint | endpoint:$none || device state | deviceState:$none
        | channels, all | channel: || bridges, all | bridge: || endpoints, all | endpoint: || device states, all | deviceState:
    do not unsubscribe from all 501, and nothing changes (app_handle_subscriptions)
        open $all all
        DELETE /applications/$all/subscription?eventSource=%1 -> 501 "Method not implemented"
        GET /applications/$all -> 200 = everything {"name": "$all"}
        | channels | channel: || bridges | bridge: || endpoints | endpoint:
    keep the sources before [bridge] URI by URI from the left, stopping at the first bad one (app_handle_subscriptions)
        POST /applications/{app}/subscription?eventSource=%1 -> %2
        GET /applications/{app} -> 200 = application {"name": "{app}", "bridge_ids": [%3]}
        | one that does not exist | bridge:{bridge},bridge:$none,deviceState:x | 422 "Event source does not exist"     | "{bridge}"
        | a bad one               | bridge:{bridge},bad:x                      | 400 "Invalid event source URI scheme" | "{bridge}"
        | a bad one at the start  | bad:x,bridge:{bridge}                      | 400 "Invalid event source URI scheme"
    undo the sources before [bridge] Unsubscribing stops at the first bad one too (app_handle_subscriptions)
        POST /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200
        DELETE /applications/{app}/subscription?eventSource=bridge:{bridge},bridge:{bridge} -> 422 "Event source was not subscribed to"
        GET /applications/{app} -> 200 = application {"name": "{app}"}
    do not take [departure] Members that are no texts are bad URIs; they crash an Asterisk 16
        %2 /applications/{app}/subscription {"eventSource": %1} -> 400 "Invalid event source URI scheme"
        | a number | 5 || a list of a number | [1] || a list of null | [null]
        x
        | to subscribe to | POST || to unsubscribe from | DELETE
""")
class TestSubscriptionRefusals:
    """Refusals (res_stasis.c)."""

    def test_tell_a_bad_body_first(self, ari):
        """400 before the application (res_ari.c, ast_ari_callback)."""
        expect(ari.post("/applications/none/subscription", body="{bad", headers={"Content-Type": JSON_TYPE}),
               **UNPARSED)

    def test_are_not_for_a_reader(self, ari, events, read_only):
        """Subscribing is writing (res_ari.c, ast_ari_callback)."""
        expect(ari.post("/applications/%s/subscription" % ari.app, {"eventSource": "deviceState:x"}, auth=read_only),
               status=403, json=message("Write access denied"))


@script("""
    to a bridge brings its events [bridge] BridgeDestroyed with the bridge (sub_bridge_update_handler)
        POST /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200
            = application {"name": "{app}", "bridge_ids": ["{bridge}"]}
        DELETE /bridges/{bridge} -> 204
        await BridgeDestroyed {bridge} {"application": "{app}"}
    to a bridge ends with it [bridge] All interests in it go when it is destroyed
        POST /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200
        DELETE /bridges/{bridge} -> 204
        eventually GET /applications/{app} -> 200 = application {"name": "{app}"}
    to one bridge brings nothing of another [bridge] Only what was subscribed to
        POST /bridges/$other -> 200
        POST /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200
        DELETE /bridges/$other -> 204
        DELETE /bridges/{bridge} -> 204
        await BridgeDestroyed {bridge}
        never BridgeDestroyed $other
    to a bridge is counted [bridge] Twice subscribed is twice to unsubscribe; the id is shown once (app_subscribe_bridge)
        POST /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200 = application {"name": "{app}", "bridge_ids": ["{bridge}"]}
        POST /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200 = application {"name": "{app}", "bridge_ids": ["{bridge}"]}
        DELETE /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200 = application {"name": "{app}", "bridge_ids": ["{bridge}"]}
        DELETE /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200 = application {"name": "{app}"}
    ids are sorted By byte value (app_to_json)
        POST /bridges/$b -> 200
        POST /bridges/$a -> 200
        POST /bridges/$B -> 200
        POST /applications/{app}/subscription?eventSource=bridge:$b,bridge:$a,bridge:$B -> 200 {"bridge_ids": ["$B", "$a", "$b"]}
    to a channel brings its events [call] Another application can watch a channel (app_subscribe_channel)
        open $watcher
        POST /applications/$watcher/subscription?eventSource=channel:{near} -> 200
            = application {"name": "$watcher", "channel_ids": ["{near}"]}
        POST /channels/{near}/variable?variable=FOO&value=seen -> 204
        await ChannelVarset {near} {"variable": "FOO", "value": "seen", "application": "$watcher"}
    to a channel ends with it [call] All interests in it go when it is destroyed
        open $watcher
        POST /applications/$watcher/subscription?eventSource=channel:{near} -> 200
        DELETE /channels/{near} -> 204
        await ChannelDestroyed {near}
        eventually GET /applications/$watcher -> 200 = application {"name": "$watcher"}
    to a channel does not bring its start and end [call] StasisStart and StasisEnd go to its application alone (res_stasis.c)
        open $watcher
        POST /applications/$watcher/subscription?eventSource=channel:{near} -> 200
        DELETE /channels/{near} -> 204
        await ChannelDestroyed {near}
        never StasisEnd
    to a device state brings its changes DeviceStateChanged when the state changes (res_stasis_device_state.c)
        POST /applications/{app}/subscription?eventSource=deviceState:Stasis:$lamp -> 200
            = application {"name": "{app}", "device_names": ["Stasis:$lamp"]}
        PUT /deviceStates/Stasis:$lamp?deviceState=INUSE -> 204
        await DeviceStateChanged {"application": "{app}", "device_state": {"name": "Stasis:$lamp", "state": "INUSE"}}
    to a device state is not counted Twice is once (res_stasis_device_state.c)
        POST /applications/{app}/subscription?eventSource=deviceState:$lamp -> 200
        POST /applications/{app}/subscription?eventSource=deviceState:$lamp -> 200
        DELETE /applications/{app}/subscription?eventSource=deviceState:$lamp -> 200 = application {"name": "{app}"}
        DELETE /applications/{app}/subscription?eventSource=deviceState:$lamp -> 422 "Event source was not subscribed to"
    to any device state is taken The name of a device is not looked for (res_stasis_device_state.c)
        POST /applications/{app}/subscription?eventSource=deviceState:%1 -> 200 = application {"name": "{app}", "device_names": ["%1"]}
        | a stored one | Stasis:$d || one that nobody controls | SIP/$d || any word | $d || a mailbox | MWI:$d
    to all An empty name is all of the kind, shown as its topic (app_subscribe_channel)
        POST /applications/{app}/subscription?eventSource=%1: -> 200 = application {"name": "{app}", "%2": ["__AST_%3_ALL_TOPIC"]}
        | channels | channel | channel_ids | CHANNEL || bridges | bridge | bridge_ids | BRIDGE
        | endpoints | endpoint | endpoint_ids | ENDPOINT || device states | deviceState | device_names | DEVICE_STATE
    to all bridges brings created ones BridgeCreated is only for those who subscribed to all bridges
        POST /applications/{app}/subscription?eventSource=bridge: -> 200
        POST /bridges/$b -> 200
        await BridgeCreated $b
    to all device states brings any DeviceStateChanged of any device (res_stasis_device_state.c)
        POST /applications/{app}/subscription?eventSource=deviceState: -> 200
        PUT /deviceStates/Stasis:$d?deviceState=BUSY -> 204
        await DeviceStateChanged {"device_state": {"name": "Stasis:$d", "state": "BUSY"}}
    to all ends, once, by the id that is shown for it Though it cannot be ended by channel: alone (app_unsubscribe)
        POST /applications/{app}/subscription?eventSource=%1: -> 200
        DELETE /applications/{app}/subscription?eventSource=%1:__AST_%2_ALL_TOPIC -> 200 = application {"name": "{app}"}
        DELETE /applications/{app}/subscription?eventSource=%1:__AST_%2_ALL_TOPIC -> 422 "Event source was not subscribed to"
        | channels | channel | CHANNEL || bridges | bridge | BRIDGE || endpoints | endpoint | ENDPOINT
    to one more beside all of its kind is taken and not shown [bridge] 200, and nothing to unsubscribe from
        POST /applications/{app}/subscription?eventSource=bridge: -> 200
        POST /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200
            = application {"name": "{app}", "bridge_ids": ["__AST_BRIDGE_ALL_TOPIC"]}
        DELETE /applications/{app}/subscription?eventSource=bridge:{bridge} -> 422 "Event source was not subscribed to"
    to one that does not exist is refused beside all of its kind, too 422 (res_stasis.c, app_subscribe)
        POST /applications/{app}/subscription?eventSource=bridge: -> 200
        POST /applications/{app}/subscription?eventSource=bridge:$none -> 422 "Event source does not exist"
    to all device states can be left without effect for 200, and nothing changes (res_stasis_device_state.c)
        POST /applications/{app}/subscription?eventSource=deviceState: -> 200
        DELETE /applications/{app}/subscription?eventSource=deviceState:%1 -> 200
            = application {"name": "{app}", "device_names": ["__AST_DEVICE_STATE_ALL_TOPIC"]}
        | one | x || all
    to everything is all four With subscribeAll=true it subscribes to every kind (app_create)
        open $all all
        GET /applications/$all -> 200 = everything {"name": "$all"}
    is not made by making a bridge [bridge] Who makes it hears nothing of it without subscribing (ari/resource_bridges.c)
        never BridgeCreated {bridge}
        GET /applications/{app} -> 200 = application {"name": "{app}"}
    is made by originating [unanswered] POST /channels with an active app subscribes it to both legs (ari/resource_channels.c)
        GET /applications/{app} -> 200 = application {"name": "{app}", "channel_ids": ["{far}", "{near}"]}
""")
class TestSubscription:
    """What a subscription brings (stasis/app.c)."""


# --- event filter ---

@script("""
    is set by Each list that is there replaces its list (stasis_app_event_filter_set)
        PUT /applications/{app}/eventFilter %1 -> 200 = application {"name": "{app}", "events_allowed": [%2], "events_disallowed": [%3]}
        GET /applications/{app} -> 200 = application {"name": "{app}", "events_allowed": [%2], "events_disallowed": [%3]}
        | allowed alone | {"allowed": [{"type": "A"}]} | {"type": "A"}
        | disallowed alone | {"disallowed": [{"type": "A"}, {"type": "B"}]} | | {"type": "A"}, {"type": "B"}
        | both | {"allowed": [{"type": "A"}], "disallowed": [{"type": "B"}]} | {"type": "A"} | {"type": "B"}
        | a list for both | [{"type": "A"}] | {"type": "A"} | {"type": "A"}
        | more keys than type | {"allowed": [{"type": "A", "extra": 1}]} | {"type": "A", "extra": 1}
        | the same type twice | {"allowed": [{"type": "A"}, {"type": "A"}]} | {"type": "A"}, {"type": "A"}
    is changed by Each list that is there replaces its list (stasis_app_event_filter_set)
        PUT /applications/{app}/eventFilter {"allowed": [{"type": "A"}]%1} -> 200
        PUT /applications/{app}/eventFilter %2 -> 200 = application {"name": "{app}", "events_allowed": [%3], "events_disallowed": [%4]}
        GET /applications/{app} -> 200 = application {"name": "{app}", "events_allowed": [%3], "events_disallowed": [%4]}
        | one after the other    |                                 | {"disallowed": [{"type": "B"}]} | {"type": "A"} | {"type": "B"}
        | one again              |                                 | {"allowed": [{"type": "B"}]}    | {"type": "B"}
        | an empty list          | , "disallowed": [{"type": "B"}] | {"allowed": []}                 |               | {"type": "B"}
        | an unknown key alone   |                                 | {"other": 1}                    | {"type": "A"}
        | an empty object        | , "disallowed": [{"type": "B"}] | {}
        | an empty list for both |                                 | []
    is emptied by no body It is as an empty object (ari/resource_applications.c, ast_ari_applications_filter)
        PUT /applications/{app}/eventFilter {"allowed": [{"type": "A"}], "disallowed": [{"type": "B"}]} -> 200
        PUT /applications/{app}/eventFilter -> 200 = application {"name": "{app}"}
    does not take A list of objects with a text for a type: else 400, nothing changes (app_event_filter_set)
        PUT /applications/{app}/eventFilter %1 -> 400 "Invalid format definition"
        GET /applications/{app} -> 200 = application {"name": "{app}"}
        | a text | {"allowed": "StasisStart"} || a list of texts | {"allowed": ["StasisStart"]} || an empty type | {"allowed": [{"type": ""}]}
        | no type | {"allowed": [{"name": "x"}]} || a type that is no text | {"allowed": [{"type": 5}]}
        | an object | {"allowed": {"type": "A"}} || null | {"disallowed": null}
        | a number after a good one | {"disallowed": [{"type": "A"}, 1]}
    does not take a form It is 400 (ari/resource_applications.c, ast_ari_applications_filter)
        PUT /applications/{app}/eventFilter form: allowed=x -> 400 "Invalid format definition"
    takes the disallowed before it refuses the allowed One is set before the other is looked at (stasis_app_event_filter_set)
        PUT /applications/{app}/eventFilter {"allowed": [{}], "disallowed": [{"type": "A"}]} -> 400 "Invalid format definition"
        GET /applications/{app} -> 200 = application {"name": "{app}", "events_disallowed": [{"type": "A"}]}
    can not read a body that is A JSON scalar is no body, before the application is looked for (res_ari.c, ast_ari_callback)
        PUT /applications/$none/eventFilter %1 -> 400 "Error parsing request body"
        | a text | "text" || a number | 5 || a boolean | true || null | null
    needs an application for 404 before the filter is looked at (ari/resource_applications.c)
        PUT /applications/$none/eventFilter %1 -> 404 "Application not found"
        | a good filter | {} || a bad filter | {"allowed": "x"}
""")
class TestEventFilter:
    """An event filter is set (stasis/app.c)."""

    def test_is_emptied_by_a_body_that_nobody_reads(self, ari, events):
        """No JSON body is as an empty object (ari/resource_applications.c, ast_ari_applications_filter)."""
        expect(set_filter(ari, {"allowed": [{"type": "A"}], "disallowed": [{"type": "B"}]}), status=200)
        expect(ari.put("/applications/%s/eventFilter" % ari.app, body='{"allowed":[]}', headers={"Content-Type": "text/plain"}),
               status=200, json=application_json(ari.app))

    def test_is_not_for_a_reader(self, ari, events, read_only):
        """Filtering is writing (res_ari.c, ast_ari_callback)."""
        expect(ari.put("/applications/%s/eventFilter" % ari.app, json={}, auth=read_only), status=403)


@script("""
    come when Sent if not disallowed, and allowed is empty or has it (stasis_app_event_allowed)
        PUT /applications/{app}/eventFilter %1 -> 200
        POST /events/user/seen?application={app} -> 204
        await ChannelUserevent {"eventname": "seen"}
        | nothing is filtered | {} || they are allowed | {"allowed": [{"type": "ChannelUserevent"}]}
        | others are disallowed | {"disallowed": [{"type": "StasisStart"}]}
        | disallowed in another case | {"disallowed": [{"type": "channeluserevent"}]}
    come again when the filter is gone An empty object lets everything through (stasis_app_event_filter_set)
        PUT /applications/{app}/eventFilter {"disallowed": [{"type": "ChannelUserevent"}]} -> 200
        PUT /applications/{app}/eventFilter {} -> 200
        POST /events/user/back?application={app} -> 204
        await ChannelUserevent {"eventname": "back"}
    leave the subscription [bridge] A filter hides events, the subscription stays (res_stasis.c)
        POST /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200
        PUT /applications/{app}/eventFilter {"disallowed": [{"type": "BridgeDestroyed"}]} -> 200 {"bridge_ids": ["{bridge}"]}
""")
class TestFilteredEvents:
    """Events come and do not come through a filter (stasis/app.c)."""

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
        """Sent if not disallowed, and allowed is empty or has it (stasis_app_event_allowed)."""
        expect(set_filter(ari, body), status=200)
        expect(ari.user_event("hidden"), status=204)
        events.expect_none("ChannelUserevent", after=after)

    def test_may_be_those_of_the_life_cycle(self, ari, events):
        """ApplicationReplaced is filtered like any other (app_send)."""
        expect(set_filter(ari, {"disallowed": [{"type": "ApplicationReplaced"}]}), status=200)
        ari.events()
        events.send(PING, b"after")
        events.expect_frame(PONG, b"after")
        if events.waiting:
            fail(events.request, "no ApplicationReplaced", shown(events.waiting))


# --- user events ---

USUAL["userevent"] = {"eventname": "e"}


@script("""
    miss the application 400 without its name (ari/resource_events.c, ast_ari_events_user_event)
        POST /events/user/x%1 %2 -> 400 "Missing parameter application"
        | none || an empty one | ?application= || a number in JSON | | {"application": 5}
        | a number in JSON beside a good query | ?application={app} | {"application": 5} || none, with a bad source | ?source=bad:x
    do not find the application of 404 before variables and sources are looked at
        POST /events/user/x?application=$none %1 -> 404 "Application not found"
        | a plain event || bad variables | {"variables": "text"}
    do not find the application before a bad source 404 before sources are looked at
        POST /events/user/x?application=$none&source=bad:x -> 404 "Application not found"
    can not use variables that are They must be an object: else 500 (ari/resource_events.c)
        POST /events/user/x?application={app} {"variables": %1} -> 500 "Error processing request"
        | a text | "text" || a list | [1] || null | null || a number | 5
    tell bad variables before a bad source 500 before sources are looked at (ari/resource_events.c)
        POST /events/user/x?application={app}&source=bad:x {"variables": "text"} -> 500 "Error processing request"
    do not know the source [bridge] It is channel:, bridge: or endpoint: alone
        POST /events/user/x?application={app}&source=%1 -> 400 "Invalid event source URI scheme"
        | nothing | || no scheme | x || an unknown scheme | bad:x || a device state | deviceState:Stasis:x
        | a scheme in another case | Channel:x || a bad one after a good one | bridge:{bridge},bad:x
        | nothing after a good one | bridge:{bridge}, || a bad one before a missing one | bad:x,bridge:$none
    do not find the source 422, from the left
        POST /events/user/x?application={app}&source=%1 -> 422 "Event source was not found"
        | a channel | channel:$none || a channel without a name | channel: || a bridge | bridge:$none
        | a technology | endpoint:$none || an endpoint | endpoint:Local/$none || a missing one before a bad one | bridge:$none,bad:x
    send nothing [bridge] A bad source sends nothing, whatever comes before it
        POST /events/user/refused?application={app}&source=bridge:{bridge},bad:x -> 400 "Invalid event source URI scheme"
        never ChannelUserevent {"eventname": "refused"}
    can not read 400 first of all (res_ari.c, ast_ari_callback)
        POST /events/user/x %1 -> 400 "Error parsing request body"
        | a JSON text | "text" || null | null
    are told when Paths as anywhere (res_ari.c, ast_ari_invoke)
        %1
        %2
        | a name is missing | POST /events/user -> 405 | header Allow: OPTIONS
        | a name is missing, with a slash | POST /events/user/ -> 404 "ARI URLs do not end with a slash. Try /ari/events/user"
        | the method is another | DELETE /events/user/x -> 405 | header Allow: OPTIONS,POST
    do not take a source that is [departure] Sources that are no texts are bad URIs; they crash an Asterisk 16
        POST /events/user/x?application={app} {"source": %1} -> 400 "Invalid event source URI scheme"
        | a number | 5 || a list of a number | [1] || a list of null | [null]
    do not take a name that is not utf8 [departure] The name is sent in an event, so it must be UTF-8; Asterisk loses the event
        POST /events/user/%FF?application={app} -> 400 "Invalid UTF-8"
""")
class TestUserEventRefusals:
    """Refusals (res_stasis.c, stasis_app_user_event)."""

    def test_can_not_read_bad_json(self, ari):
        """400 first of all (res_ari.c, ast_ari_callback)."""
        expect(ari.post("/events/user/x", body="{bad", headers={"Content-Type": JSON_TYPE}), **UNPARSED)


@script("""
    may have a name with It is the decoded segment (res_ari.c, ast_ari_invoke)
        POST /events/user/%1?application={app} -> 204
        await ChannelUserevent {"eventname": "%2", "userevent": {"eventname": "%2"}}
        | a blank | a%20b | a b || a slash | a%2Fb | a/b || quotes and UTF-8 | %C3%A9%22%5C | \\u00e9\\"\\\\
    may have its application in JSON over query over form (ari/resource_events.c)
        open $a,$b
        POST /events/user/x%1 %2 -> 204
        await ChannelUserevent {"application": "%3"}
        | a query                    | ?application=$a               |                       | $a
        | the last of two in a query | ?application=x&application=$a |                       | $a
        | a form                     |                               | form: application=$a  | $a
        | JSON                       |                               | {"application": "$a"} | $a
        | JSON before a query        | ?application=$a               | {"application": "$b"} | $b
    has variables Those of the JSON body, with their types
        POST /events/user/e?application={app} {"variables": {%1}} -> 204
        await ChannelUserevent {"eventname": "e"} = userevent {%1}
        | texts | "b": "1", "a": "2" || none
        | values of any type | "n": 5, "f": 1.5, "t": true, "z": null, "l": [1, {"x": []}], "o": {}
    always has its name, even with Variables are an object in the JSON body; eventname is the name
        POST /events/user/e?application={app} %1 -> 204
        await ChannelUserevent {"eventname": "e"} = userevent {%2}
        | nothing | {} || other members of the body | {"foo": "bar"} || a list for a body | [1]
        | a name of their own | {"variables": {"eventname": "mine", "z": 1}} | "z": 1
    has no variables in They stand in a JSON body only (ari/resource_events.c)
        POST /events/user/e?application={app}%1 %2 -> 204
        await ChannelUserevent {"eventname": "e"} = userevent {}
        | a query | &variables=y || a form | | form: variables=y
    shows a bridge [bridge] With source=bridge:ID it adds the bridge
        POST /events/user/x?application={app}&source=bridge:{bridge} -> 204
        await ChannelUserevent {"eventname": "x", "bridge": "{bridge}"}
    shows a channel [call] The source=channel:ID adds the channel
        POST /events/user/x?application={app}&source=channel:{near} -> 204
        await ChannelUserevent {near} {"eventname": "x"}
    shows a source of each kind [unanswered, bridge] A bridge and a channel together
        POST /events/user/x?application={app}&source=bridge:{bridge},channel:{near} -> 204
        await ChannelUserevent {near} {"eventname": "x", "bridge": "{bridge}"}
    shows [bridge] Of several sources of one kind the last is shown
        POST /bridges/$two -> 200
        POST /events/user/x?application={app}%1 %2 -> 204
        await ChannelUserevent {"eventname": "x", "bridge": "%3"}
        | the last of one kind          | &source=bridge:{bridge},bridge:$two |                                                | $two
        | the last of a JSON list       |                                     | {"source": ["bridge:$two", "bridge:{bridge}"]} | {bridge}
        | that of JSON before the query | &source=bridge:{bridge}             | {"source": "bridge:$two"}                      | $two
""")
class TestUserEvent:
    """A user event, and what it shows (res_stasis.c, stasis_app_user_event)."""

    def test_is_sent_to_the_application(self, ari, events):
        """ChannelUserevent with its name, and the name again among the variables."""
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

    @rows("body, userevent",
          ("one of them twice", '{"variables":{"a":1,"b":2,"a":3}}', {"a": 3, "b": 2}),
          ("characters of all kinds", '{"variables":{"u":"\u00e9\u20ac\U0001f600","q":"\\"\\\\/\\n\\t\\u0001"}}',
           {"u": "\u00e9\u20ac\U0001f600", "q": "\"\\/\n\t\x01"}))
    def test_has_variables_as_they_are_written(self, ari, events, body, userevent):
        """variables of the JSON body, with their types; eventname is always the name."""
        expect(ari.user_event("e", body=body, headers={"Content-Type": JSON_TYPE}), status=204)
        event = events.expect("ChannelUserevent", eventname="e")
        if not matches(event["userevent"], dict(userevent, eventname="e")):
            fail(events.request, shown(dict(userevent, eventname="e")), shown(event["userevent"]))

    def test_keeps_the_order_of_its_variables(self, compact, ari, events):
        """As sent, then eventname; the last of equal names at the first's place (res_stasis.c; Jansson)."""
        expect(ari.user_event("e", body='{"variables":{"b":1,"a":2,"b":3}}', headers={"Content-Type": JSON_TYPE}))
        event = events.expect("ChannelUserevent")
        if list(event["userevent"].items()) != [("b", 3), ("a", 2), ("eventname", "e")]:
            fail(events.request, "b: 3, a: 2, eventname: e", shown(event["userevent"]))

    def test_of_an_empty_list_of_sources_shows_none(self, ari, events):
        """An empty JSON list is as no source (ari/resource_events.c)."""
        expect(ari.user_event("x", json={"source": []}), status=204)
        event = events.expect("ChannelUserevent", eventname="x")
        if {"channel", "bridge", "endpoint"} & set(event):
            fail(events.request, "no channel, bridge or endpoint", shown(event))

    def test_goes_to_no_subscriber_of_its_source(self, ari, events):
        """It goes to the named application only (stasis_app_user_event)."""
        bridge = ari.bridge()
        watcher = ari.events(ari.app + "-2")
        expect(subscribe(ari, "bridge:" + bridge, app=watcher.app), status=200)
        expect(ari.post("/events/user/private", {"application": ari.app, "source": "bridge:" + bridge}), status=204)
        events.expect("ChannelUserevent", eventname="private")
        watcher.expect_none("ChannelUserevent", eventname="private")

    def test_come_in_the_order_in_which_they_were_asked_for(self, ari, events):
        """One queue per application."""
        names = ["n%d" % number for number in range(20)]
        for name in names:
            expect(ari.user_event(name), status=204)
        seen = [event["eventname"] for event in events.expect_in_order(["ChannelUserevent"] * 20)]
        if seen != names:
            fail(events.request, " ".join(names), " ".join(seen))

    def test_of_a_call_comes_after_what_the_call_before_it_made(self, ari, events):
        """What a call does itself is queued before its reply: the bridge first, then the user event."""
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
    """What stands around every event."""

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


# --- channels: the object and its names ---

ALLOCATION_FAILED = {"status": 500, "json": {"error": "Allocation failed"}}
scenes("""
    pair [context] A near leg %1, Down, and its far leg %2, which is in Ring and in the application
        POST /channels?endpoint=Local/100@{context}&app={app}&channelId=$%1&otherChannelId=$%2%3 -> 200
        await StasisStart $%2
        %1 = $%1
        %2 = $%2
    legs A pair, Up and in the application, with its far leg's name; what happened so far is forgotten
        do pair %1 %2 %4
        POST /channels/$%2/answer -> 204
        await StasisStart $%1
        await ChannelStateChange {"channel": {"id": "$%2", "state": "Up"}}
        GET /channels/$%2 -> 200
        %3 <- name
        forget $%1 $%2
    call Two legs, Up and in the application
        do legs near far name
    originated [context] A near leg, Down, and its far leg, on its way into the application; %1 is more of the query
        POST /channels?endpoint=Local/100@{context}&app={app}&channelId=$near&otherChannelId=$far%1 -> 200
        near = $near
        far = $far
    unanswered The near leg is Down and in no application, the far leg is in Ring, in it
        do pair near far
        await Dial {near}
        forget
    created [context] A pair that was created and not dialled yet: the near leg is Down and in the application
        POST /channels/create?endpoint=Local/100@{context}&app={app}&channelId=$near&otherChannelId=$far -> 200
        await StasisStart $near
        near = $near
        far = $far
        forget
    dialled [created] The near leg is Down, the far one in Ring, both in the application
        POST /channels/{near}/dial -> 204
        await Dial {near}
        await StasisStart {far}
        forget
    near_recorded [created] A recording of the near leg, $r, is under way
        POST /channels/{near}/record?name=$r&format=wav -> 201
        await RecordingStarted $r
""")
call, unanswered, created, dialled, near_recorded = map(scene, ("call", "unanswered", "created", "dialled", "near_recorded"))


@script("""
    is gone when it ended [call] Both legs of a pair end together (ast_ari_channels_get)
        DELETE /channels/{far} -> 204
        await ChannelDestroyed {near}
        eventually GET /channels/{near} -> 404 "Channel not found"
    is not found when the id is [call] GET finds ids only (ast_ari_channels_get)
        GET /channels/%1 -> 404 "Channel not found"
        | unknown | $none || its name and not its id | {name}
    has the name of its pair [call] Local/EXTEN@CONTEXT-8 hex digits;1 or ;2: one number for the pair (core_local.c, locals_new)
        GET /channels/{far} -> 200 {"name": "<Local/100@{context}-[0-9a-f]{8};2>"}
        GET /channels/{near} -> 200 {"name": "<{name}?1>"}
    has ids [context] As otherChannelId, else channelId;2 (core_local.c, local_request)
        POST /channels?endpoint=Local/100@{context}&app={app}&channelId=$x%1 -> 200
        GET /channels/$x -> 200 {"id": "$x"}
        GET /channels/%2 -> 200 {"id": "%2"}
        | both as they were given | &otherChannelId=$o | $o || of the second after the first | | $x;2
    can be called by its name to be [call] Where any channel will do a name is an id; where it must be in an application it is not (channel.c)
        %1 -> %2
        | hung up                  | DELETE /channels/{name}                         | 204
        | asked for a variable     | GET /channels/{name}/variable?variable=UNIQUEID | 200
        | snooped                  | POST /channels/{name}/snoop?spy=both&app={app}  | 200
        | asked for its statistics | GET /channels/{name}/rtp_statistics             | 403
        | but not answered         | POST /channels/{name}/answer                    | 409 "Channel not in Stasis application"
        | but not given a variable | POST /channels/{name}/variable?variable=X       | 409 "Channel not in Stasis application"
    shows what was published last [call, channelvar] A variable that was set shows in GET only when the channel is published again
        POST /channels/{near}/variable?variable={channelvar}&value=new -> 204
        await ChannelVarset {"variable": "{channelvar}", "channel": {"id": "{near}", "channelvars": {"{channelvar}": ""}}}
        GET /channels/{near} -> 200 {"channelvars": {"{channelvar}": ""}}
        GET /channels/{near}/variable?variable={channelvar} -> 200 = {"value": "new"}
    shows its variables when it is published again [call, channelvar] A change of the caller id publishes the channel with them
        POST /channels/{near}/variable?variable={channelvar}&value=new -> 204
        POST /channels/{near}/variable?variable=CALLERID(num)&value=5 -> 204
        await ChannelCallerId {"channel": {"id": "{near}", "channelvars": {"{channelvar}": "new"}}}
        GET /channels/{near} -> 200 {"channelvars": {"{channelvar}": "new"}}
""")
class TestChannel:
    """A channel as it is shown (resource_channels.c; stasis_channels.c), and its names."""

    def test_is_shown_whole(self, ari, call, channelvars):
        """What a leg in an application looks like (ast_channel_snapshot_to_json)."""
        expect(ari.get("/channels/" + call.far), status=200, json={
            "id": call.far, "name": re.compile(r"Local/100@.+-[0-9a-f]{8};2"), "state": "Up", "protocol_id": "",
            "caller": {"name": "", "number": ""}, "connected": {"name": "", "number": ""}, "accountcode": "",
            "dialplan": {"context": ari.context, "exten": "100", "priority": 1, "app_name": "Stasis", "app_data": ari.app},
            "creationtime": TIMESTAMP, "language": "en", "channelvars": {name: "" for name in channelvars}})

    def test_is_listed_as_it_is_shown(self, ari, call):
        """GET /channels has every channel, in no promised order (ast_ari_channels_list)."""
        reply = expect(ari.get("/channels"), status=200)
        mine = {channel["id"]: channel for channel in reply.json if ari.prefix in channel["id"]}
        if mine != {leg: ari.get("/channels/" + leg).json for leg in (call.near, call.far)}:
            fail(reply.request, "a list with both legs as GET /channels/ID shows them", str(reply))

    def test_of_the_next_pair_has_a_higher_number(self, ari, events):
        """The number in the name is raised by each pair (core_local.c, locals_new)."""
        numbers = [int(ari.get("/channels/" + ari.pair(events, word)[0]).json["name"][-10:-2], 16) for word in ("one", "two")]
        if numbers[0] >= numbers[1]:
            fail("GET /channels/...", "a higher number in the second name", "%x, %x" % tuple(numbers))

    @rows("given", ("none is given", []), ("only the other one is given", ["otherChannelId"]))
    def test_has_generated_ids_when(self, ari, events, given):
        """Seconds of the epoch, a dot, a number; the far leg has the next one (channel.c, __ast_channel_alloc_ap)."""
        params = dict({name: ari.id("other") for name in given}, endpoint="Local/100@" + ari.context, app=ari.app)
        reply = expect(ari.post("/channels", params), status=200, has={"id": re.compile(r"\d+\.\d+")})
        far = events.expect("StasisStart")["channel"]["id"]
        if int(far.split(".")[1]) != int(reply.json["id"].split(".")[1]) + 1:
            fail(reply.request, "an id one higher for the far leg", "%s, %s" % (reply.json["id"], far))

    def test_may_be_named_in_any_case(self, ari, call):
        """Names are compared without regard to case (channel.c, ast_channel_get_by_name)."""
        name = quote(call.name.upper(), safe="")
        expect(ari.get("/channels/%s/variable?variable=UNIQUEID" % name), status=200, json={"value": call.far})


# --- channels: originate ---

@script("""
    are made [context] Checked in this order (ari_channels_handle_originate_with_id)
        x = xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
        POST %1 %2 -> %3
        | by POST /channels for | /channels || by POST /channels/ID for | /channels/$x
        x
        | a variable that is a number | {"variables": {"A": 1}} | 400 "Only string values in the 'variables' object allowed"
        | a variable that is null | {"variables": {"A": null}} | 400 "Only string values in the 'variables' object allowed"
        | a variable that is a list, after a good one | {"variables": {"A": "ok", "B": ["x"]}} | 400 "Only string values in the 'variables' object allowed"
        | an id that is too long, before a missing endpoint | ?otherChannelId={x}{x}{x} | 400 "Uniqueid length exceeds maximum of 149"
        | no endpoint, before originator and formats | ?originator=x&formats=y | 400 "Endpoint must be specified"
        | an empty endpoint | ?endpoint=&app={app} | 400 "Endpoint must be specified"
        | originator and formats, before a bad endpoint | ?endpoint=x&originator=x&formats=y | 400 "Originator and formats can't both be specified"
        | an endpoint without a slash, before a missing app | ?endpoint=Local | 400 "Invalid endpoint specified"
        | an endpoint without a resource | ?endpoint=Local/&app={app} | 400 "Invalid endpoint specified"
        | an endpoint without a technology | ?endpoint=/x&app={app} | 400 "Invalid endpoint specified"
        | neither app nor extension, before an unknown originator | ?endpoint=Nope/x&originator=none | 400 "Application or extension must be specified"
        | an empty app | ?endpoint=Local/1@x&app= | 400 "Application or extension must be specified"
        | an empty extension | ?endpoint=Local/1@x&context=default&extension= | 400 "Application or extension must be specified"
        | an unknown label, before an unknown originator | ?endpoint=Nope/x&context={context}&extension=1&label=l&originator=o | 404 "Requested label can not be found"
        | label 0 | ?endpoint=Nope/x&context={context}&extension=1&label=0&originator=none | 400 "Requested priority is illegal"
        | an unknown originator, before an unknown technology | ?endpoint=Nope/x&app={app}&originator=none | 400 "Provided originator channel was not found"
        | an unknown format, before an unknown technology | ?endpoint=Nope/x&app={app}&formats=nope | 400 "Provided format (nope) was not found"
        | the first unknown of many formats | ?endpoint=Local/1@x&app={app}&formats=ulaw,bad,worse | 400 "Provided format (bad) was not found"
        | an unknown technology | ?endpoint=Nope/x&app={app} | 500 = {"error": "Allocation failed"}
    are made for a body that is no json first 400 before a missing endpoint (res_ari_channels.c)
        POST /channels body application/json: {bad -> 400 "Error parsing request body"
    are made for an id that is in use, when [unanswered] 409, the last of all (ari_channels_handle_originate_with_id)
        POST /channels%1endpoint=Local/1@{context}&app={app} -> 409 "Channel with given unique ID already exists"
        | the near leg has it | ?channelId={near}&otherChannelId=$x& || the far leg has it | ?channelId=$x&otherChannelId={far}&
        | it is in the path | /{far}? || both are the same | ?channelId=$x&otherChannelId=$x&
    are not made for the format none It is a format, so that what comes after it is told (format_cache.c, ast_format_none)
        POST /channels?endpoint=Nope/x&app={app}&formats=none -> 500 = {"error": "Allocation failed"}
    are not made for variables that are no object [context] Then there are none (json_to_ast_variables)
        POST /channels?endpoint=Local/100@{context}&app={app}&channelId=$x {"variables": ["A"]} -> 200
""")
class TestOriginateRefusals:
    """Refusals (resource_channels.c)."""

    @rows("length, expected", ("149 bytes are taken", 149, {"status": 200}),
          ("150 bytes are not", 150, bad_request("Uniqueid length exceeds maximum of 149")))
    def test_limit_the_length_of_an_id(self, ari, events, length, expected):
        """AST_MAX_PUBLIC_UNIQUEID (resource_channels.c)."""
        expect(ari.post("/channels", {"endpoint": "Local/1@" + ari.context, "app": ari.app,
                                      "channelId": ari.id("x" * (length - len(ari.id(""))))}), **expected)


@script("""
    returns the near leg [context] 200 with it as it was made: Down (ari_channels_handle_originate_with_id)
        POST /channels/$n?endpoint=Local/100@{context}&app={app} -> 200 {"id": "$n", "name": "<Local/100@.+;1>", "state": "Down",
            "dialplan": {"context": "{context}", "exten": "100", "priority": 1, "app_name": "AppDial2", "app_data": "(Outgoing Line)"}}
    takes the id of the path [context] A channelId elsewhere is ignored then (ast_ari_channels_originate_with_id)
        POST /channels/$path?endpoint=Local/1@{context}&app={app} {"channelId": "$body"} -> 200 {"id": "$path"}
    has its parameters in [context] JSON over query over form (res_ari_channels.c)
        POST /channels%1 %2 -> 200 {"id": "$x"}
        | a query            | ?endpoint=Local/1@{context}&app={app}&channelId=$x
        | JSON               |                             | {"endpoint": "Local/1@{context}", "app": "{app}", "channelId": "$x", "timeout": 5}
        | JSON over a query  | ?app={app}&channelId=q      | {"endpoint": "Local/1@{context}", "channelId": "$x"}
        | a form             |                             | form: endpoint=Local/1@{context}&app={app}&channelId=$x
        | a form and a query | ?endpoint=Local/1@{context} | form: app={app}&channelId=$x
    brings the far leg into the application [originated] It runs its context, here Stasis (core_local.c, local_call)
        {far}: ChannelDialplan Stasis({app}) @ {context},100,1 Stasis({app}); ChannelVarset STASISSTATUS= @ {context},100,1 Stasis({app});
            StasisStart @ {context},100,1 Stasis({app})
    tells that it dials [originated] No status, what follows Local/ for a dial string, the near leg as peer, and no caller (dial.c)
        await Dial {near} {"dialstatus": "", "dialstring": "100@{context}", "forward": "", "caller": "<nothing>"}
    may have options that show in the dial string alone [context] With /n, /m and /j nothing else changes (core_local.c, local_alloc)
        POST /channels?endpoint=Local/100@{context}%1&app={app}&channelId=$near -> 200
        await Dial $near {"dialstring": "100@{context}%1"}
        GET /channels/$near -> 200 {"name": "<Local/100@[^/]*;1>"}
        | no optimisation | /n || music | /m || two of them | /nj
    rings [unanswered] POST ring on the far leg: the near one is Ringing and tells so (core_local.c, local_indicate; dial.c)
        POST /channels/{far}/ring -> 204
        {near}: ChannelStateChange Ringing; Dial RINGING
        GET /channels/{far} -> 200 {"state": "Ring"}
    rings again with the dial event alone [unanswered] The state is the same then; ring stop tells nothing (dial.c, handle_frame)
        POST /channels/{far}/ring -> 204
        DELETE /channels/{far}/ring -> 204
        POST /channels/{far}/ring -> 204
        {near}: ChannelStateChange Ringing; Dial RINGING; Dial RINGING
    is answered by the far leg [unanswered] Both are Up, and the near one enters the application without ChannelDialplan (dial.c; res_stasis.c)
        POST /channels/{far}/answer -> 204
        {far}: ChannelStateChange Up @ {context},100,1 Stasis({app})
        {near}: ChannelStateChange Up @ {context},100,1 AppDial2((Outgoing Line)); Dial ANSWER @ {context},100,1 AppDial2((Outgoing Line));
            ChannelVarset STASISSTATUS= @ {context},100,1 Stasis({app}); StasisStart @ {context},100,1 Stasis({app})
    has arguments [context] The appArgs are split at commas for StasisStart of the near leg, empty ones kept (res_stasis.c)
        do originated %1
        await StasisStart {far} {"args": []}
        POST /channels/{far}/answer -> 204
        await StasisStart {near} {"args": [%2]}
        | none || one | &appArgs=x | "x" || several | &appArgs=x,y | "x", "y" || empty ones too | &appArgs=,x,, | "", "x", "", ""
    tells of progress before the answer by [unanswered] Media on the far leg while it is in Ring (dial.c, handle_frame)
        POST /channels/{far}/%1 -> %2
        {near}: Dial PROGRESS
        | digits | dtmf?dtmf=1 | 204 || music | moh | 204 || silence | silence | 204 || a sound | play?media=sound:ref-one | 201
    runs an extension when answered [dialplan, context] The near leg goes on there, and nobody is subscribed to it (pbx.c, pbx_outgoing_attempt)
        open $watcher
        POST /applications/$watcher/subscription?eventSource=channel: -> 200
        read {app}
        POST /channels?endpoint=Local/100@{context}&context=default&extension=answer&priority=2&channelId=$near&otherChannelId=$far -> 200
        await StasisStart $far
        POST /channels/$far/answer -> 204
        read $watcher
        await ChannelDialplan $near {"dialplan_app": "Wait", "dialplan_app_data": "30"}
        read {app}
        never about $near
    prefers the application to an extension [context] When both are given (ari_channels_handle_originate_with_id)
        do originated &extension=answer&context=none&priority=1
        await StasisStart {far}
        POST /channels/{far}/answer -> 204
        await StasisStart {near}
    ends with the answer for [context] It is no error of the request; the near leg ends when it is answered (pbx.c, pbx_outgoing_exec)
        POST /channels?endpoint=Local/100@{context}&%1&channelId=$near&otherChannelId=$far -> 200
        await StasisStart $far
        POST /channels/$far/answer -> 204
        await ChannelHangupRequest $far {"cause": 0}
        await StasisEnd $far
        | an unknown app | app=none-{app} || an unknown context | extension=1&context=none-{app}
        | an unknown extension | extension=none&context=default
    ends at once for 200, then ChannelDestroyed of the near leg with cause 0 and nothing else (core_local.c, local_call)
        POST /channels?endpoint=Local/100@%1&app={app}&channelId=$near -> 200
        $near: ChannelDestroyed 0
        | a context that does not exist | none-{app} || the context of an application that does not exist | stasis-none-{app}
    ends at once for the context of an inactive application [kept, context] STASISSTATUS is FAILED, and the dialplan comes to its end (app_stasis.c)
        open $b
        POST /applications/$b/subscription?eventSource=channel: -> 200
        POST /channels?endpoint=Local/100@{context}&app=$b&channelId=$near&otherChannelId=$far -> 200
        $far: ChannelCreated; ChannelDialplan Stasis({app}) @ {context},100,1 Stasis({app}); ChannelVarset STASISSTATUS=;
            ChannelVarset STASISSTATUS=FAILED; ChannelHangupRequest 16 soft @ {context},100,2 ();
            ChannelDialplan NoOp() @ {context},h,1 NoOp(); ChannelDestroyed 0
    uses context default without one Local/100 is Local/100@default (core_local.c, local_alloc)
        POST /channels?endpoint=Local/none-$x&app={app} -> 200 {"dialplan": {"context": "default"}, "name": "<Local/.*@default-.*;1>"}
    gives up after its timeout [context] ChannelDestroyed with cause 0 after a second, and no more Dial (dial.c)
        do originated &timeout=1
        hasten 1 s
        {near}: Dial; ChannelDestroyed 0
        {far}: ChannelDialplan Stasis({app}); ChannelVarset STASISSTATUS=; StasisStart; ChannelHangupRequest 0; StasisEnd
    into an application that nobody has ends when it is answered [dialplan] Both legs, with cause 0; the far one runs no further (pbx.c, pbx_builtin_answer)
        open $all all
        POST /channels?endpoint=Local/answer@default&app=$none&channelId=$near&otherChannelId=$far -> 200
        hasten 0.5 s
        $far: ChannelCreated; ChannelDialplan Answer(); ChannelStateChange Up; ChannelHangupRequest 0;
            ChannelHangupRequest 16 soft @ default,answer,1 (); ChannelDestroyed 0
        let 0.8 s pass
        never about $far
""")
class TestOriginate:
    """A call is made (resource_channels.c)."""


@script("""
    are set on the near leg [context] Those of the JSON body (ari_channels_handle_originate_with_id)
        POST /channels?endpoint=Local/100@{context}&app={app}&channelId=$near {"variables": {"X": "1", "Y": ""}} -> 200
        GET /channels/$near/variable?variable=X -> 200 = {"value": "1"}
        GET /channels/$near/variable?variable=Y -> 200 = {"value": ""}
    are copied to the far leg newest first [context] All of them, the last one first (core_unreal.c, ast_unreal_call_setup)
        POST /channels?endpoint=Local/100@{context}&app={app}&channelId=$near&otherChannelId=$far
            {"variables": {"A": "1", "_B": "2", "__C": "3"}} -> 200
        $far: ChannelVarset __C=3 @ {context},100,1 (); ChannelVarset _B=2; ChannelVarset A=1; ChannelDialplan Stasis({app})
    of an originator are inherited [call] The prefix _ is for one generation, __ for ever (channel.c, ast_channel_inherit_variables)
        POST /channels/{far}/variable?variable=%1&value=v -> 204
        await ChannelVarset {"variable": "%1"}
        POST /channels?endpoint=Local/100@{context}&app={app}&channelId=$child&originator={far} -> 200
        GET /channels/{far}/variable?variable=X -> 200
        GET /channels/$child/variable?variable=X -> %2
        | with an underscore | _X | 200 || with two | __X | 200 || but not without one | X | 404 Variable Not Found
    show in the channel [channelvar, context] Those of channelvars (stasis_channels.c)
        POST /channels?endpoint=Local/100@{context}&app={app}&channelId=$near&otherChannelId=$far {"variables": {"{channelvar}": "seen"}} -> 200
        await StasisStart {"channel": {"id": "$far", "channelvars": {"{channelvar}": "seen"}}}
    may be the caller id [context] With CALLERID(num), the near leg's caller; the far leg has it as connected line (core_unreal.c)
        POST /channels?endpoint=Local/100@{context}&app={app}&channelId=$near&otherChannelId=$far {"variables": {"CALLERID(num)": "77"}} -> 200
        GET /channels/$near -> 200 {"caller": {"name": "", "number": "77"}}
        await ChannelConnectedLine {"channel": {"id": "$far", "connected": {"number": "77"}, "caller": {"number": ""}}}
""")
class TestOriginateVariables:
    """The variables of a call (resource_channels.c)."""


@script("""
    is read from [context] Name and number of caller and of connected line (callerid.c, ast_callerid_split)
        POST /channels?endpoint=Local/100@{context}&app={app}&channelId=$near {"callerId": "%1"} -> 200
        GET /channels/$near -> 200 {"caller": {"name": "%2", "number": "%3"}, "connected": {"name": "%2", "number": "%3"}}
        | name and number | Bob <12> | Bob | 12 || a quoted name | \\"Bob Ray\\" <555-1234> | Bob Ray | 5551234
        | a number alone | 123 | | 123 || a number with blanks and signs | (555) 12-34.5 | | 55512345 || a star and a hash | *12# | | *12#
        | a name alone | Bob | Bob || a quoted number, which is a name | \\"123\\" | 123 || a number in brackets alone | <99> | | 99
        | other text in brackets | A <x-y> | A | x-y || blanks in brackets | A <1 2> | A | 1 2 || nothing
    travels to the far leg [context] ChannelCallerId, then ChannelConnectedLine, before it runs its dialplan (core_unreal.c)
        do originated &callerId=Bob%20%3C12%3E
        {far}: ChannelCallerId Bob <12> @ {context},100,1 (); ChannelConnectedLine Bob <12> @ {context},100,1 (); ChannelDialplan Stasis({app})
    of an originator is the connected line [call] The near leg is connected to who caused it, and the far leg is called by that
        POST /channels/{far}/variable?variable=CALLERID(all)&value=Ora%20%3C5%3E -> 204
        await ChannelCallerId {far}
        POST /channels?endpoint=Local/100@{context}&app={app}&channelId=$child&otherChannelId=$other&originator={far} -> 200
        GET /channels/$child -> 200 {"connected": {"name": "Ora", "number": "5"}, "caller": {"name": "", "number": ""}}
        await ChannelCallerId {"channel": {"id": "$other", "caller": {"name": "Ora", "number": "5"}}}
""")
class TestOriginateCallerId:
    """The caller id of a call (resource_channels.c)."""


@script("""
    to all channels brings new ones [context] ChannelCreated and the first ChannelDialplan come before anybody could subscribe (stasis/app.c)
        POST /applications/{app}/subscription?eventSource=channel: -> 200
        do originated
        {near}: ChannelCreated @ {context},100,1 (); ChannelDialplan AppDial2((Outgoing Line)); Dial
    by originating comes too late for ChannelCreated [originated] The application is subscribed after the channel was made
        await StasisStart {far}
        never ChannelCreated
        never ChannelDialplan {near}
    by originating lasts beyond the application [call] Who originated hears the channel until it is destroyed
        DELETE /channels/{near} -> 204
        {near}: ChannelHangupRequest 32 soft; StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelDestroyed 16
    by being in the application ends with it [context] Who did not originate hears from StasisStart to StasisEnd (res_stasis.c, stasis_app_exec)
        open $caller
        POST /channels?endpoint=Local/1@{context}&app=$caller&channelId=$near&otherChannelId=$far -> 200
        read {app}
        await StasisStart $far
        DELETE /channels/$far -> 204
        await StasisEnd $far
        read $caller
        await ChannelDestroyed $far
        read {app}
        never ChannelDestroyed $far
""")
class TestChannelSubscription:
    """Who hears of a channel (resource_channels.c)."""


# --- channels: how they end ---

@script("""
    by hanging up the near leg is told of both [call] It goes first, and takes the other with it (channel.c, ast_hangup; core_local.c)
        DELETE /channels/{near} -> 204
        {near}: ChannelHangupRequest 32 soft @ {context},100,1 Stasis({app}); StasisEnd @ {context},100,1 Stasis({app});
            ChannelVarset STASISSTATUS=SUCCESS; ChannelDestroyed 16 @ {context},100,1 AppDial2((Outgoing Line))
        {far}: ChannelHangupRequest 16 @ {context},100,1 Stasis({app}); StasisEnd @ {context},100,1 Stasis({app});
            ChannelVarset STASISSTATUS=SUCCESS; ChannelHangupRequest 16 soft @ {context},100,1 ();
            ChannelDialplan NoOp() @ {context},h,1 NoOp(); ChannelDestroyed 16 @ {context},h,2 ()
    by hanging up the far leg is told of both [call] The other way round (channel.c, ast_hangup; core_local.c)
        DELETE /channels/{far} -> 204
        {far}: ChannelHangupRequest 32 soft; StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelHangupRequest 16 soft @ {context},100,1 ();
            ChannelDialplan NoOp() @ {context},h,1 NoOp(); ChannelDestroyed 16 @ {context},h,2 ()
        {near}: ChannelHangupRequest 16; StasisEnd; ChannelVarset STASISSTATUS=SUCCESS;
            ChannelDestroyed 16 @ {context},100,1 AppDial2((Outgoing Line))
    of an unanswered call is told when [unanswered] The near leg: Dial with a status, then ChannelDestroyed (dial.c)
        DELETE /channels/{%1} -> 204
        {near}: %2; Dial NOANSWER; ChannelDestroyed 16
        | it is hung up | near | ChannelHangupRequest 32 soft || the far leg is hung up | far | ChannelHangupRequest 16
    of the far leg of an unanswered call is told [unanswered] As of an answered one, in state Ring (res_stasis.c; pbx.c)
        DELETE /channels/{near} -> 204
        {far}: ChannelHangupRequest 16; StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelHangupRequest 16 soft;
            ChannelDialplan NoOp(); ChannelDestroyed 16
    has the cause of [unanswered] The reason is a cause of Q.850, and decides the status of Dial (ast_ari_channels_hangup; dial.c)
        DELETE /channels/{far}%1 -> 204
        await ChannelHangupRequest {near} {"cause": %2}
        await Dial {near} {"dialstatus": "%4"}
        await ChannelDestroyed {near} {"cause": %2, "cause_txt": "%3"}
        | nothing | | 16 | Normal Clearing | NOANSWER || an empty reason | ?reason= | 16 | Normal Clearing | NOANSWER
        | normal | ?reason=normal | 16 | Normal Clearing | NOANSWER || busy | ?reason=busy | 17 | User busy | BUSY
        | congestion | ?reason=congestion | 34 | Circuit/channel congestion | CONGESTION
        | no_answer | ?reason=no_answer | 19 | User alerting, no answer | NOANSWER
        | timeout | ?reason=timeout | 18 | No user responding | NOANSWER || rejected | ?reason=rejected | 21 | Call Rejected | NOANSWER
        | unallocated | ?reason=unallocated | 1 | Unallocated (unassigned) number | NOANSWER
        | normal_unspecified | ?reason=normal_unspecified | 31 | Normal, unspecified | NOANSWER
        | number_incomplete | ?reason=number_incomplete | 28 | Invalid number format | NOANSWER
        | codec_mismatch | ?reason=codec_mismatch | 58 | Bearer capability not available | NOANSWER
        | interworking | ?reason=interworking | 127 | Interworking, unspecified | NOANSWER
        | failure | ?reason=failure | 38 | Network out of order | NOANSWER
        | answered_elsewhere | ?reason=answered_elsewhere | 26 | Answered elsewhere | NOANSWER
    takes its reason from a body [call] JSON as well as a query (res_ari_channels.c)
        DELETE /channels/{near} {"reason": "busy"} -> 204
        await ChannelDestroyed {near} {"cause": 17}
    always asks with the same flag [call] The cause beside soft is a flag, 32, and not the reason (channel.c, ast_softhangup)
        DELETE /channels/{near}?reason=busy -> 204
        await ChannelHangupRequest {near} {"cause": 32, "soft": true}
    is refused for [unanswered] 404, then 400 with a phrase of its own (ast_ari_channels_hangup)
        DELETE /channels/%1?reason=%2 -> %3
        | an unknown reason               | {near} | zzz  | 400 Invalid Reason "Invalid reason for hangup provided"
        | a reason in another case        | {near} | Busy | 400 Invalid Reason "Invalid reason for hangup provided"
        | an unknown channel, before that | $none  | zzz  | 404 "Channel not found"
    may be asked for a channel that is [unanswered] Any channel can be hung up (ast_ari_channels_hangup)
        DELETE /channels/%1 -> 204 empty
        | in no application | {near} || in an application | {far}
""")
class TestEndOfChannel:
    """A channel ends (resource_channels.c)."""


# --- channels: create and dial ---

@script("""
    are made for [unanswered] In this order (ast_ari_channels_create)
        POST /channels/create%1 -> %2
        | a variable that is no text, before all else | ?originator=a&formats=b {"variables": {"A": 5}} | 400 "Only string values in the 'variables' object allowed"
        | originator and formats, before a missing endpoint | ?app={app}&originator=a&formats=b | 400 "Originator and formats can't both be specified"
        | no endpoint | ?app={app} | 400 "Endpoint must be specified" || an empty endpoint | ?app={app}&endpoint= | 400 "Endpoint must be specified"
        | an endpoint without a slash, before a bad format | ?endpoint=Local&app={app}&formats=b | 400 "Invalid endpoint specified"
        | an endpoint without a resource | ?endpoint=Local/&app={app} | 400 "Invalid endpoint specified"
        | an unknown format, before an unknown technology | ?endpoint=Nope/x&app={app}&formats=b | 400 "Provided format (b) was not found"
        | an unknown technology | ?endpoint=Nope/x&app={app} | 500 = {"error": "Allocation failed"}
    are made for an id that is in use [unanswered] 409 (ast_ari_channels_create)
        POST /channels/create?endpoint=Local/1@{context}&app={app}&channelId=%1&otherChannelId=%2 -> 409 "Channel with given unique ID already exists"
        | as the near one | {near} | $x || as the far one | $x | {far}
    are not made for [context] 200 all the same (ast_ari_channels_create)
        x = xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
        POST /channels/create?endpoint=Local/1@{context}&channelId=$x%1 -> 200 {"id": "$x"}
        | an unknown originator | &app={app}&originator=none || an application that is not there | &app=none-{app} || no application
        | an id of more than 149 bytes | &app={app}&otherChannelId=$o{x}{x}{x}
""")
class TestCreateRefusals:
    """Refusals (resource_channels.c)."""


@script("""
    returns the near leg without an application [context] 200 with it: Down, at the place of its endpoint (ast_ari_channels_create)
        POST /channels/create?endpoint=Local/100@{context}&app={app}&channelId=$x -> 200 {"id": "$x", "state": "Down",
            "dialplan": {"context": "{context}", "exten": "100", "priority": 1, "app_name": "", "app_data": ""}}
    brings the near leg into the application [context] At once, and Down as it is (stasis_app_exec_call_thread)
        POST /channels/create?endpoint=Local/100@{context}&app={app}&channelId=$x&appArgs=q,r -> 200
        $x: ChannelDialplan Stasis({app},q,r) @ {context},100,1 Stasis({app},q,r); ChannelVarset STASISSTATUS=
        await StasisStart {"args": ["q", "r"], "channel": {"id": "$x", "state": "Down"}}
        never about $x
    leaves the far leg alone [created] It is there, in no application (core_local.c, local_request)
        GET /channels/{far} -> 200 {"state": "Ring", "dialplan": {"exten": "100", "app_name": ""}}
    subscribes to the near leg alone [created] Not to the far one (ast_ari_channels_create)
        GET /applications/{app} -> 200 {"channel_ids": ["{near}"]}
    sets variables in order [context] Those of the body, functions too, before it enters the application
        POST /channels/create?endpoint=Local/1@{context}&app={app}&channelId=$x
            {"variables": {"A": "1", "CALLERID(name)": "Zed", "CALLERID(num)": "33", "B": "2"}}
            -> 200 {"caller": {"name": "Zed", "number": "33"}}
        $x: ChannelVarset A=1; ChannelCallerId Zed <>; ChannelCallerId Zed <33>; ChannelVarset B=2; ChannelDialplan Stasis({app})
    ends with the near leg [created] ChannelDestroyed shows no application; the far leg goes without a word
        DELETE /channels/{near} -> 204
        {near}: ChannelHangupRequest 32 soft; StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelDestroyed 16 @ {context},100,1 ()
        eventually GET /channels/{far} -> 404 "Channel not found"
    does not end with the idle leg [created] DELETE of the far leg that nobody called is 204 and does nothing (channel.c, ast_softhangup)
        DELETE /channels/{far} -> 204
        never StasisEnd {near}
        GET /channels/{near} -> 200
    dies at once without an active application [context] The request is 200; then the channel goes (stasis_app_exec_call_thread)
        POST /channels/create?endpoint=Local/1@{context}&app=$none&channelId=$x -> 200
        eventually GET /channels/$x -> 404 "Channel not found"
    may be [created] While it is Down
        POST /channels/{near}/%1 -> %2
        | given a variable | variable?variable=X&value=1 | 204 || moved | move?app={app} | 204 || snooped | snoop?spy=both&app={app} | 200
    lets its application hear of the originator [call, context] As if it had subscribed to it (ast_ari_channels_create)
        open $other
        POST /channels/create?endpoint=Local/100@{context}&app=$other&channelId=$c&originator={far} -> 200
        await StasisStart $c
        POST /channels/{far}/variable?variable=Q&value=v -> 204
        await ChannelVarset {far} {"variable": "Q", "value": "v", "application": "$other"}
""")
class TestCreate:
    """A channel is made and not dialled (resource_channels.c)."""


@script("""
    calls the far leg [created] Dial with the whole dial string on the near leg; the far one starts (ast_ari_channels_dial; core_local.c)
        POST /channels/{near}/dial -> 204
        await Dial {near} {"dialstatus": "", "dialstring": "100@{context}"}
        await StasisStart {"channel": {"id": "{far}", "state": "Ring"}}
    tells of [dialled] Dial with a status; no second StasisStart (res_stasis.c)
        POST /channels/{far}/%1 -> 204
        hasten 0.5 s
        {near}: %2
        never StasisStart {near}
        | ringing | ring | ChannelStateChange Ringing; Dial RINGING || progress | dtmf?dtmf=1 | Dial PROGRESS; ChannelDtmfReceived 1
        | the answer | answer | ChannelStateChange Up; Dial ANSWER
    tells the dial string no more with [dialled] It is empty beside a status
        POST /channels/{far}/%1 -> 204
        await Dial {near} {"dialstatus": "%2", "dialstring": ""}
        | ringing | ring | RINGING || progress | dtmf?dtmf=1 | PROGRESS || the answer | answer | ANSWER
    shows the application only its own part of the far leg [dialled] StasisStart to StasisEnd: nothing before or after (res_stasis.c)
        DELETE /channels/{near} -> 204
        {far}: ChannelHangupRequest 16; StasisEnd
        eventually GET /channels/{far} -> 404 "Channel not found"
        never ChannelDestroyed {far}
    ends when the far leg refuses [dialled] The near leg ends with its cause, and without a last Dial
        DELETE /channels/{far}?reason=busy -> 204
        {near}: ChannelHangupRequest 17; StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelDestroyed 17 @ {context},100,1 ()
    ends when there is nowhere to go No ChannelHangupRequest, cause 16 (core_local.c)
        POST /channels/create?endpoint=Local/1@none-{app}&app={app}&channelId=$x -> 200
        await StasisStart $x
        forget
        POST /channels/$x/dial -> 204
        $x: StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelDestroyed 16
    ends after its timeout [created] A second later the near leg is hung up as by DELETE (app_control_dial)
        POST /channels/{near}/dial?timeout=1 -> 204
        hasten 1 s
        {near}: Dial; ChannelHangupRequest 32 soft; StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelDestroyed 16
    takes variables and connected line of a caller [call] What it lets inherit, and its caller id (ast_ari_channels_dial)
        POST /channels/{far}/variable?variable=__X&value=1 -> 204
        POST /channels/{far}/variable?variable=CALLERID(all)&value=Ora%20%3C5%3E -> 204
        await ChannelCallerId {far}
        POST /channels/create?endpoint=Local/100@{context}&app={app}&channelId=$x -> 200
        await StasisStart $x
        forget
        POST /channels/$x/dial?caller={far} -> 204
        $x: ChannelVarset __X=1; ChannelConnectedLine Ora <5>; Dial
    ignores an unknown caller [created] 204 (ast_ari_channels_dial)
        POST /channels/{near}/dial?caller=$none -> 204
        await StasisStart {far}
    refuses a channel that [unanswered] 409 (ast_ari_channels_dial)
        %2
        %3
        POST /channels/%1/dial -> 409 "Channel is not in the 'Down' state"
        | is in Ring | {far} || is Up | {near} | POST /channels/{far}/answer -> 204 | await StasisStart {near}
    refuses a second time [departure, dialled] A channel that is being dialled is refused; it crashes an Asterisk 16
        POST /channels/{near}/dial -> 409 "Channel is not in the 'Down' state"
    counts its timeout from its turn and not from the request [near_recorded] It rings when the recording is over; an answer takes the timer back
        POST /channels/{near}/dial?timeout=1 -> 204
        let 0.6 s pass
        POST /recordings/live/$r/stop -> 204
        await StasisStart {far}
        let 0.6 s pass
        POST /channels/{far}/answer -> 204
        {near}: RecordingFinished done; Dial; ChannelStateChange Up; Dial ANSWER
        let 1.1 s pass
        GET /channels/{near} -> 200
    is not done when its channel has gone [near_recorded] No Dial, and nobody is called (res_stasis.c, control_dispatch_all)
        POST /channels/{near}/dial -> 204
        DELETE /channels/{near} -> 204
        {near}: ChannelHangupRequest 32 soft; RecordingFinished done; StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelDestroyed 16
        never Dial
        never StasisStart
""")
class TestDial:
    """A channel that was created is dialled (control.c)."""

    def test_is_done_once_however_often_it_is_asked_for(self, departure, ari, events, near_recorded):
        """Behind a recording the channel is still Down: a further dial is refused, or does nothing in its turn."""
        near, far = near_recorded.near, near_recorded.far
        for _ in range(3):
            ari.post("/channels/%s/dial" % near, {"timeout": 1})
        expect(ari.post("/recordings/live/%s/stop" % ari.id("r")), status=204)
        events.expect("StasisStart", channel=far)
        expect(ari.post("/channels/%s/answer" % far), status=204)
        expect_lines(events, near, ["RecordingFinished done", "Dial", "ChannelStateChange Up", "Dial ANSWER"])
        ari.let_pass(1.2)
        events.expect_none("Dial", peer=near)
        expect(ari.get("/channels/" + near), status=200)


# --- channels: operations ---

scenes("""
    ringing [dialled] The near leg rings
        POST /channels/{far}/ring -> 204
        await ChannelStateChange {"channel": {"id": "{near}", "state": "Ringing"}}
""")


@script("""
    can not Channel, application, state: 404, 409, 412 (find_control, channel_state_invalid)
        %3
        %1 /channels/%4/%2 -> %5
        | be answered | POST | answer || ring | POST | ring || stop ringing | DELETE | ring || be held | POST | hold || be unheld | DELETE | hold
        | hear music | POST | moh || hear no more music | DELETE | moh || hear silence | POST | silence || hear no more silence | DELETE | silence
        | send digits | POST | dtmf?dtmf=1 || be muted | POST | mute?direction=both || be unmuted | DELETE | mute?direction=both
        | go on in the dialplan | POST | continue || be redirected | POST | redirect?endpoint=Local/1@x
        | hear a sound | POST | play?media=sound:x || hear a sound of an id | POST | play/$x?media=sound:x
        x
        | where there is no channel | | $none | 404 "Channel not found"
        | outside an application | do unanswered | {near} | 409 "Channel not in Stasis application"
        | down | do created | {near} | 412 "Channel in invalid state" || ringing | do ringing | {near} | 412 "Channel in invalid state"
    whatever its state can not Channel, application: 404, then 409 (find_control)
        %2
        POST /channels/%3/%1 -> %4
        | be moved | move?app=x || be dialled | dial || be given a variable | variable?variable=X&value=1 || be recorded | record?name=$x&format=wav
        x
        | where there is no channel | | $none | 404 "Channel not found"
        | outside an application | do unanswered | {near} | 409 "Channel not in Stasis application"
    is looked at before Channel and state before parameters
        %3
        %1 /channels/%4/%2 -> %5
        | digits | POST | dtmf || a direction to mute | POST | mute || a direction to unmute | DELETE | mute || a label | POST | continue?label=none
        | an endpoint | POST | redirect || a medium | POST | play || a good skip | POST | play?media=x&skipms=-1
        x
        | where there is none | | $none | 404 "Channel not found" || when it is down | do created | {near} | 412 "Channel in invalid state"
    needs [unanswered] What is missing or wrong
        %1 /channels/{far}/%2 -> %3
        | digits | POST | dtmf | 400 "DTMF is required" || digits that are not empty | POST | dtmf?dtmf= | 400 "DTMF is required"
        | a direction to mute | POST | mute | 400 "Direction is required"
        | a direction that is not empty | POST | mute?direction= | 400 "Direction is required"
        | one of three directions | POST | mute?direction=up | 400 "Invalid direction specified"
        | a direction in small letters | POST | mute?direction=IN | 400 "Invalid direction specified"
        | a direction to unmute | DELETE | mute | 400 "Direction is required"
        | one of three directions to unmute | DELETE | mute?direction=x | 400 "Invalid direction specified"
        | a known label | POST | continue?label=none | 404 "Requested label can not be found"
        | a label that is not 0 | POST | continue?label=0 | 400 "Requested priority is illegal"
        | an endpoint | POST | redirect | 400 Not Found "Required parameter 'endpoint' not provided."
        | an endpoint that is not empty | POST | redirect?endpoint= | 400 Not Found "Required parameter 'endpoint' not provided."
        | an endpoint with a slash | POST | redirect?endpoint=x | 422 "Endpoint parameter 'x' does not contain tech/resource"
        | an endpoint with a technology | POST | redirect?endpoint=/x | 422 "Endpoint parameter '/x' does not contain tech/resource"
        | an endpoint with a resource | POST | redirect?endpoint=Local/ | 422 "No resource provided in endpoint parameter 'Local/'"
        | an endpoint of its own technology | POST | redirect?endpoint=SIP/x | 422 "Endpoint technology 'SIP' does not match channel technology 'Local'"
    tells nothing of a channel that is up and [call] 204, and no event on a Local channel
        %1 /channels/{far}/%2 -> 204 empty
        never about {near}
        never about {far}
        | answered again | POST | answer || rung | POST | ring || rung no more | DELETE | ring || held | POST | hold || unheld | DELETE | hold
        | given music | POST | moh || given music of an unknown class | POST | moh?mohClass=none || given no music | DELETE | moh
        | given silence | POST | silence || given no silence | DELETE | silence || muted both ways | POST | mute?direction=both
        | muted one way | POST | mute?direction=in || muted the other way | POST | mute?direction=out || unmuted | DELETE | mute?direction=both
        | redirected | POST | redirect?endpoint=Local/1@x || redirected by a prefix of its technology | POST | redirect?endpoint=loc/1@x
    takes its parameters from [call] JSON, form or query (res_ari_channels.c)
        POST /channels/{far}/mute %1 -> 204
        | a query | ?direction=both || JSON | {"direction": "both"} || a form | form: direction=both
    has no rtp statistics where [unanswered] 404, then 403 for Local channels, in an application or not
        GET /channels/%1/rtp_statistics -> %2
        | is there none | $none | 404 "Channel not found" || is no RTP | {near} | 403 "Unsupported channel type"
""")
class TestChannelOperation:
    """What can be done to a channel, and when (resource_channels.c)."""


# --- channels: variables ---

scenes("""
    set The far leg has the variable %1 of the value %2
        POST /channels/{far}/variable?variable=%1&value=%2 -> 204
        await ChannelVarset {far} {"variable": "%1", "value": "%2"}
    bobs [context] The near leg of a call of Bob <12>, which is not answered
        do pair near far &callerId=Bob%20%3C12%3E
""")


@script("""
    is refused when [unanswered] Name, channel, variable (ast_ari_channels_get_channel_var, ..._set_channel_var)
        %1/variable%2 -> %3
        | set without a name, before the channel is looked for  | POST /channels/$none |                     | 400 "Variable name is required"
        | set with an empty name                                | POST /channels/{far} | ?variable=          | 400 "Variable name is required"
        | set on an unknown channel                             | POST /channels/$none | ?variable=X&value=1 | 404 "Channel not found"
        | set outside an application                            | POST /channels/{near} | ?variable=X&value=1 | 409 "Channel not in Stasis application"
        | read without a name, before the channel is looked for | GET /channels/$none  |                     | 400 "Variable name is required"
        | read with an empty name                               | GET /channels/{far}  | ?variable=          | 400 "Variable name is required"
        | read of an unknown channel                            | GET /channels/$none  | ?variable=X | 404 Channel Not Found "Provided channel was not found"
        | read without being set                                | GET /channels/{far}  | ?variable=X | 404 Variable Not Found "Provided variable was not found"
        | read without being set, outside an application        | GET /channels/{near} | ?variable=X | 404 Variable Not Found "Provided variable was not found"
        | read as an unknown function | GET /channels/{far} | ?variable=NOFUNC(x) | 500 Error With Function "Unable to read provided function"
        | read as a function with an unknown argument | GET /channels/{far} | ?variable=CHANNEL(nope) | 500 Error With Function "Unable to read provided function"
    is set by [call] 204, ChannelVarset, and the new value (ast_ari_channels_set_channel_var)
        POST /channels/{far}/variable %1 -> 204 empty
        await ChannelVarset {far} {"variable": "Q", "value": "v"}
        GET /channels/{far}/variable?variable=Q -> 200 = {"value": "v"}
        | a query | ?variable=Q&value=v || JSON | {"variable": "Q", "value": "v"} || a form | form: variable=Q&value=v
    may hold [call] Any text, taken literally (pbx_variables.c, pbx_builtin_setvar_helper)
        POST /channels/{far}/variable {"variable": "Q", "value": "%1"} -> 204
        await ChannelVarset {far} {"variable": "Q", "value": "%1"}
        GET /channels/{far}/variable?variable=Q -> 200 = {"value": "%1"}
        | quotes and a backslash | a\\"b'c\\\\ || characters beyond ASCII | \u00e9\u20ac\U0001f600 || blanks | \\u0020 a  b\\u0020
        | dialplan syntax | ${1},$[1+1] || line ends | a\\r\\nb
    is set again with [call] No value unsets it, an empty one does not; both tell of "" (pbx_variables.c)
        do set Q v
        POST /channels/{far}/variable?variable=Q%1 -> 204
        await ChannelVarset {far} {"variable": "Q", "value": ""}
        GET /channels/{far}/variable?variable=Q -> %2
        | no value | | 404 Variable Not Found "Provided variable was not found" || an empty value | &value= | 200 = {"value": ""}
    is found by its name [call] Names are case-sensitive (pbx_variables.c)
        do set Name v
        GET /channels/{far}/variable?variable=Name -> 200 = {"value": "v"}
        GET /channels/{far}/variable?variable=NAME -> 404 Variable Not Found "Provided variable was not found"
    is set with underscores and read without [call] The event has them, the name has not (pbx_variables.c; ast_var_name)
        do set %1 v
        GET /channels/{far}/variable?variable=Z -> 200 = {"value": "v"}
        GET /channels/{far}/variable?variable=%1 -> 404 Variable Not Found "Provided variable was not found"
        | one underscore | _Z || two | __Z
    belongs to one leg [call] The other leg of the pair has its own (pbx_variables.c)
        do set Q v
        GET /channels/{near}/variable?variable=Q -> 404 Variable Not Found "Provided variable was not found"
    hides a global one [call] The channel's own first, else the global one (pbx_variables.c, pbx_retrieve_variable)
        POST /asterisk/variable?variable=$G&value=global -> 204
        GET /channels/{far}/variable?variable=$G -> 200 = {"value": "global"}
        do set $G own
        GET /channels/{far}/variable?variable=$G -> 200 = {"value": "own"}
        POST /asterisk/variable?variable=$G -> 204
    is built in as [call] What every channel answers (pbx_variables.c, pbx_retrieve_variable; func_channel.c)
        GET /channels/{far}/variable?variable=%0 -> 200 = {"value": "%1"}
        | EXTEN | 100 || CONTEXT | {context} || PRIORITY | 1 || UNIQUEID | {far} || HANGUPCAUSE | 0 || STASISSTATUS || CHANNEL(state) | Up
        | CHANNEL(language) | en || CHANNEL | {name} || CHANNEL(name) | {name} || CHANNELS({far}) || CHANNELS({name}) | {name}
    stasisstatus is not there before an application [unanswered] A leg that never was in one has none (res_stasis.c, app_stasis.c)
        GET /channels/{near}/variable?variable=STASISSTATUS -> 404 Variable Not Found "Provided variable was not found"
    may set of the caller id ChannelCallerId and no ChannelVarset (func_callerid.c)
        do legs near far name &callerId=Old%20%3C1%3E
        POST /channels/{near}/variable?variable=CALLERID(%1)&value=%2 -> 204
        await ChannelCallerId {"channel": {"id": "{near}", "caller": {"name": "%3", "number": "%4"}},
            "caller_presentation": 0, "caller_presentation_txt": "Presentation Allowed, Not Screened"}
        never ChannelVarset {near}
        | name and number | all | New%20%3C12%3E | New | 12 || the number | num | 99 | Old | 99 || the name | name | New | New | 1
    may be a part of the caller id [bobs] Functions for reading (func_callerid.c)
        GET /channels/{near}/variable?variable=%1 -> 200 = {"value": "%2"}
        | name and number | CALLERID(all) | \\"Bob\\" <12> || the number | CALLERID(num) | 12 || the name | CALLERID(name) | Bob
        | the connected number | CONNECTEDLINE(num) | 12 || the connected name | CONNECTEDLINE(name) | Bob
        | both of the connected line | CONNECTEDLINE(all) | \\"Bob\\" <12> || nothing of an item that is not known | CALLERID(nope)
    may be half a caller id Quotes and brackets stand there all the same (func_callerid.c, party_id_read)
        do pair near far &callerId=%1
        GET /channels/{near}/variable?variable=CALLERID(all) -> 200 = {"value": "%2"}
        | a number alone | %3C12%3E | \\"\\" <12> || a name alone | Bob | \\"Bob\\" <>
    may be an item of the channel [call] Items of CHANNEL(), in any case (func_channel.c)
        GET /channels/{far}/variable?variable=CHANNEL(%1) -> 200 = {"value": "%3"}
        GET /channels/{far}/variable?variable=CHANNEL(%2) -> 200 = {"value": "%3"}
        | what runs | appname | APPNAME | Stasis || the kind | channeltype | CHANNELTYPE | Local || no group | callgroup | CALLGROUP
        | whether it is held | onhold | ONHOLD | 0 || the limit of forwards | max_forwards | MAX_FORWARDS | 20
    may hide the caller, as the next event tells [call] By CALLERID(pres) (callerid.c, pres_types)
        POST /channels/{near}/variable?variable=CALLERID(pres)&value=%1 -> 204
        POST /channels/{near}/variable?variable=CALLERID(num)&value=5 -> 204
        await ChannelCallerId {"channel": {"id": "{near}", "caller": {"number": "5"}}, "caller_presentation": %2, "caller_presentation_txt": "%3"}
        | not screened | allowed_not_screened | 0 | Presentation Allowed, Not Screened
        | screened | allowed_passed_screen | 1 | Presentation Allowed, Passed Screen
        | screened in vain | allowed_failed_screen | 2 | Presentation Allowed, Failed Screen
        | by the network | allowed | 3 | Presentation Allowed, Network Number
        | hidden, not screened | prohib_not_screened | 32 | Presentation Prohibited, Not Screened
        | hidden, screened | prohib_passed_screen | 33 | Presentation Prohibited, Passed Screen
        | hidden, screened in vain | prohib_failed_screen | 34 | Presentation Prohibited, Failed Screen
        | hidden by the network | prohib | 35 | Presentation Prohibited, Network Number
        | not there | unavailable | 67 | Number Unavailable
    may set the connected line [call] ChannelConnectedLine (func_callerid.c)
        POST /channels/{near}/variable?variable=CONNECTEDLINE(name)&value=Eve -> 204
        await ChannelConnectedLine {"channel": {"id": "{near}", "connected": {"name": "Eve", "number": ""}}}
    may set the language of both legs [call] CHANNEL(language) of a Local leg changes both, without an event (func_channel.c; core_unreal.c)
        POST /channels/{near}/variable?variable=CHANNEL(language)&value=fr -> 204
        eventually GET /channels/{near}/variable?variable=CHANNEL(language) -> 200 = {"value": "fr"}
        eventually GET /channels/{far}/variable?variable=CHANNEL(language) -> 200 = {"value": "fr"}
    of an unknown function is set in vain [call] 204, and nothing happens (pbx_functions.c, ast_func_write)
        POST /channels/{far}/variable?variable=NOFUNC(x)&value=1 -> 204
        never ChannelVarset {far}
""")
class TestChannelVariable:
    """Variables and functions of a channel (resource_channels.c)."""


@script("""
    holds [call] What is set of a function is kept, as the function reads it, and no variable (func_channel.c; func_callerid.c)
        POST /channels/{far}/variable?variable=%1&value=%2 -> 204
        do set BEHIND 1
        GET /channels/{far}/variable?variable=%1 -> 200 = {"value": "%3"}
        never ChannelVarset {"variable": "%1"}
        | an account | CHANNEL(accountcode) | a%20b,c | a b,c || a user field | CHANNEL(userfield) | x | x
        | in any case | CHANNEL(UserField) | x | x || nothing | CHANNEL(userfield) || the first source of a hangup | CHANNEL(hangupsource) | x | x
        | a class of music | CHANNEL(musicclass) | nosuch | nosuch || a parking lot | CHANNEL(parkinglot) | p | p
        | a flag by its word | CHANNEL(amaflags) | Omit | 1 || a flag by its number | CHANNEL(amaflags) | 9 | 9
        | a flag that is none | CHANNEL(amaflags) | odd | 0 || a flag that is negative | CHANNEL(amaflags) | -1 | 0
        | groups | CHANNEL(callgroup) | 1,3-5 | 1, 3, 4, 5 || a group over 63 | CHANNEL(pickupgroup) | 63,64,0 | 0, 63
        | no group | CHANNEL(callgroup) | x || named groups | CHANNEL(namedcallgroup) | a,%20b,c%20,a | a, c, b
        | features | CHANNEL(dtmf_features) | XWT | TWX || no features | CHANNEL(dtmf_features) | tk
        | a capability | CHANNEL(transfercapability) | video | VIDEO || an unknown capability | CHANNEL(transfercapability) | nosuch | SPEECH
        | a tone zone | CHANNEL(tonezone) | US | us || forwards | CHANNEL(max_forwards) | 7x | 7
        | no number of forwards | CHANNEL(max_forwards) | x | 20 || security | CHANNEL(secure_bridge_media) | yes | 1
        | no security | CHANNEL(secure_bridge_signaling) | no || a dialled number | CALLERID(dnid) | 55 | 55
        | an accounted number | CALLERID(ani) | 55 | 55 || both of it | CALLERID(ani-all) | A%20%3C5%3E | \\"A\\" <5>
        | the line's kind | CALLERID(ani2) | 22 | 22 || no kind | CALLERID(ani2) | x | 0 || a tag | CALLERID(tag) | t | t
        | a plan | CALLERID(num-plan) | 16 | 16 || a redirecting number | CALLERID(rdnis) | 55 | 55
        | a presentation | CALLERID(num-pres) | PROHIB | prohib || an unknown presentation | CALLERID(num-pres) | x | allowed_not_screened
        | a character set | CALLERID(name-charset) | 9 | utf8 || a private name | CALLERID(priv-name) | P | P
        | a source | CONNECTEDLINE(source) | 1 | answer || who was called first | REDIRECTING(orig-num) | 55 | 55
        | who redirects | REDIRECTING(from-all) | A%20%3C5%3E | \\"A\\" <5> || a count | REDIRECTING(count) | 3 | 3
        | a reason | REDIRECTING(reason) | cfb | cfb || a reason by its number | REDIRECTING(reason) | 3 | unavailable
        | an unknown reason | REDIRECTING(reason) | no%20words | no words || no item | CALLERID(nosuch) | x
        | a presentation without a name and a number | CALLERID(pres) | x | unavailable
    source of a hangup is the one that was set first [call] Nor does an empty one count (main/channel.c, ast_set_hangupsource)
        POST /channels/{far}/variable?variable=CHANNEL(hangupsource)&value= -> 204
        POST /channels/{far}/variable?variable=CHANNEL(hangupsource)&value=first -> 204
        POST /channels/{far}/variable?variable=CHANNEL(hangupsource)&value=second -> 204
        do set BEHIND 1
        GET /channels/{far}/variable?variable=CHANNEL(hangupsource) -> 200 = {"value": "first"}
    is that of both legs [call] What CHANNEL() sets on one leg is set on the other (core_unreal.c, ast_unreal_setoption)
        POST /channels/{far}/variable?variable=CHANNEL(%1)&value=fr -> 204
        do set BEHIND 1
        GET /channels/{near}/variable?variable=CHANNEL(%1) -> 200 = {"value": "fr"}
        | a language | language || a user field | userfield
    account is the peers on the other leg and shown [call] It crosses over to peeraccount (core_unreal.c, ast_unreal_setoption)
        POST /channels/{far}/variable?variable=CHANNEL(accountcode)&value=acc -> 204
        do set BEHIND 1
        GET /channels/{far} -> 200 {"accountcode": "acc"}
        GET /channels/{near} -> 200 {"accountcode": ""}
        GET /channels/{near}/variable?variable=CHANNEL(peeraccount) -> 200 = {"value": "acc"}
    publishes the channel by [call, channelvar] Some items, so that what was set before shows in it; others do not (channel_internal_api.c)
        do set {channelvar} new
        POST /channels/{far}/variable?variable=CHANNEL(%1)&value=1 -> 204
        do set BEHIND 1
        GET /channels/{far} -> 200 {"channelvars": {"{channelvar}": "%2"}}
        | a language | language | new || an account | accountcode | new || a flag | amaflags | new || a user field | userfield
        | an unknown item | nosuch
    built in hides what is set under its name [call] ChannelVarset tells the value, reading does not (pbx_variables.c, pbx_retrieve_variable)
        GET /channels/{far}/variable?variable=%0 -> 200
        before <- value
        do set %0 1x
        GET /channels/{far}/variable?variable=%0 -> 200 = {"value": "{before}"}
        | EXTEN || CONTEXT || PRIORITY || CHANNEL || UNIQUEID || HANGUPCAUSE || CALLINGPRES || CALLINGANI2 || CALLINGTON || CALLINGTNS
        | ENTITYID || SYSTEMNAME || ASTETCDIR
    hint is never there [call] A place without a hint has none, whatever is set (pbx_variables.c, pbx_retrieve_variable)
        do set %0 1x
        GET /channels/{far}/variable?variable=%0 -> 404 Variable Not Found "Provided variable was not found"
        | HINT || HINTNAME
    built in hides a global one of its name As those of a channel (pbx_variables.c, pbx_retrieve_variable)
        GET /asterisk/variable?variable=%0 -> 200
        before <- value
        POST /asterisk/variable?variable=%0&value=1x -> 204
        GET /asterisk/variable?variable=%0 -> 200 = {"value": "{before}"}
        POST /asterisk/variable?variable=%0 -> 204
        | ENTITYID || SYSTEMNAME || ASTETCDIR
""")
class TestDialplanFunctions:
    """What functions keep, and what is built in."""


# --- channels: digits ---

@script("""
    sent on one leg are heard on the other [call] What is sent on a leg comes out at its other end (core_local.c, local_digit_end)
        POST /channels/{%1}/dtmf?dtmf=5 -> 204
        await ChannelDtmfReceived {%2} {"digit": "5", "duration_ms": 100}
        | the near leg by the far one | near | far || the far leg by the near one | far | near
    may be all sixteen [call] 0-9 * # A-D, letters in the case that was sent
        POST /channels/{near}/dtmf {"dtmf": "0123456789*#ABCDabcd", "between": 1} -> 204
        hasten 3 s
        {far}: ChannelDtmfReceived 0; ChannelDtmfReceived 1; ChannelDtmfReceived 2; ChannelDtmfReceived 3; ChannelDtmfReceived 4
        {far}: ChannelDtmfReceived 5; ChannelDtmfReceived 6; ChannelDtmfReceived 7; ChannelDtmfReceived 8; ChannelDtmfReceived 9
        {far}: ChannelDtmfReceived *; ChannelDtmfReceived #; ChannelDtmfReceived A; ChannelDtmfReceived B; ChannelDtmfReceived C
        {far}: ChannelDtmfReceived D; ChannelDtmfReceived a; ChannelDtmfReceived b; ChannelDtmfReceived c; ChannelDtmfReceived d
    give no event for [call] What is no digit (it may take time, see below)
        POST /channels/{near}/dtmf {"dtmf": "1%1x2", "between": 1} -> 204
        hasten 1 s
        {far}: ChannelDtmfReceived 1; ChannelDtmfReceived 2
        | other characters | ! || a hook flash | f
    have a duration [call] At least 100 ms (AST_MIN_DTMF_DURATION is 80, the default here 100)
        POST /channels/{near}/dtmf?dtmf=1&duration=%1 -> 204
        hasten 1 s
        await ChannelDtmfReceived {far} {"duration_ms": %2}
        | a longer one | 180 | 180 || none below 100 ms | 50 | 100
    may stand in [call] JSON, form or query (res_ari_channels.c)
        POST /channels/{near}/dtmf %1 -> 204
        hasten 0.5 s
        await ChannelDtmfReceived {far} {"digit": "1"}
        | a query | ?dtmf=1 || JSON | {"dtmf": "1"} || a form | form: dtmf=1
    may be heard outside an application [unanswered] By those subscribed to the channel (stasis/app.c); before the answer with Dial PROGRESS
        POST /channels/{far}/dtmf?dtmf=7 -> 204
        hasten 0.5 s
        {near}: Dial PROGRESS; ChannelDtmfReceived 7
    end with the leg that hears them [call] Nothing is heard on a leg behind its end; the sender ends too (core_local.c)
        POST /channels/{far}/dtmf?dtmf=123 -> 204
        await ChannelDtmfReceived {near} {"digit": "1"}
        DELETE /channels/{near} -> 204
        {near}: ChannelHangupRequest 32 soft; StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelDestroyed 16
        await ChannelDestroyed {far}
        never ChannelDtmfReceived {near}
""")
class TestDigits:
    """Digits that are sent (main/app.c, ast_dtmf_stream)."""

    @rows("params, times",
          ("digits and gaps of 100 ms", {"dtmf": "12"}, [0.2, 0.4, 0.5]),
          ("a longer duration and a shorter gap", {"dtmf": "12", "duration": 300, "between": 50}, [0.4, 0.75, 0.8]),
          ("a duration that is too short, and no gap", {"dtmf": "12", "duration": 20, "between": 0}, [0.2, 0.4, 0.5]),
          ("time before and after", {"dtmf": "12", "before": 300, "after": 500}, [0.5, 0.7, 1.3]),
          ("half a second for w, a whole one for W", {"dtmf": "1w2W3"}, [0.2, 0.9, 2.1, 2.2]),
          ("a gap for a hook flash", {"dtmf": "1f2", "between": 300}, [0.2, 0.9, 1.2]),
          ("no time for what is none", {"dtmf": "xyz"}, [0.1]))
    def test_take_their_time_with(self, ari, events, call, params, times):
        """100 ms of quiet, then each digit with its gap, told at its end; the next command waits."""
        start = seconds_of(ari.get("/asterisk/ping").json)
        expect(ari.post("/channels/%s/dtmf" % call.far, params), status=204)
        expect(ari.post("/channels/%s/variable" % call.far, {"variable": "X", "value": "over"}), status=204)
        ari.hasten(times[-1])
        digits = [digit for digit in params["dtmf"] if digit.isdigit()]
        for kind, members, due in [("ChannelDtmfReceived", {"digit": digit}, due) for digit, due in zip(digits, times)] + [
                ("ChannelVarset", {"variable": "X"}, times[-1])]:
            late = seconds_of(events.expect(kind, **members)) - start - due
            if not -0.02 <= late <= (0.3 if IN_PROCESS else DEADLINE_SECONDS):
                fail(events.request, "%s %s %g s after the request" % (kind, members, due), "%+.2f s" % late)


# --- channels: continue, move ---

@script("""
    goes to an extension of the same context [call] StasisEnd shows the new place with priority 0, one early; then the dialplan runs (ast_explicit_goto)
        POST /channels/{far}/continue?extension=200 -> 204
        {far}: StasisEnd @ {context},200,0 Stasis({app}); ChannelVarset STASISSTATUS=SUCCESS @ {context},100,1 Stasis({app})
        {far}: ChannelDialplan Stasis({app}) @ {context},200,1 Stasis({app}); ChannelVarset STASISSTATUS= @ {context},200,1 Stasis({app})
        {far}: StasisStart @ {context},200,1 Stasis({app})
    goes to [call] The context given, else the present one; extension, else s with a context; label, else priority, else 1
        POST /channels/{far}/continue?%1 -> 204
        {far}: StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelDialplan Stasis({app}); ChannelVarset STASISSTATUS=
        {far}: StasisStart @ {context},%2,1 Stasis({app})
        | a context and an extension | context={context}&extension=7 | 7 || a context alone: extension s | context={context} | s
        | a label that is a number | extension=7&label=1 | 7 || a label rather than a priority | extension=7&label=1&priority=9 | 7
    goes to the next priority without parameters [call] Here there is none: the channel ends at h (__ast_pbx_run)
        POST /channels/{far}/continue -> 204
        {far}: StasisEnd @ {context},100,1 Stasis({app}); ChannelVarset STASISSTATUS=SUCCESS
        {far}: ChannelHangupRequest 16 soft @ {context},100,2 (); ChannelDialplan NoOp() @ {context},h,1 NoOp(); ChannelDestroyed 0
    to a place that is not there ends the channel [call] The soft request stands at that place, and extension h is not run (__ast_pbx_run)
        POST /channels/{far}/continue?context=none -> 204
        {far}: StasisEnd @ none,s,0 Stasis({app}); ChannelVarset STASISSTATUS=SUCCESS @ {context},100,1 Stasis({app})
        {far}: ChannelHangupRequest 16 soft @ none,s,1 (); ChannelDestroyed 0 @ none,s,1 ()
        {near}: ChannelHangupRequest 0; StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelDestroyed 0
    of an originated leg shows the new place at once [dialplan, call] The near leg: its exact new place; STASISSTATUS only at the end (pbx_outgoing_exec)
        POST /channels/{near}/continue?context=default&extension=answer -> 204
        {near}: StasisEnd @ default,answer,1 Stasis({app}); ChannelDialplan Answer() @ default,answer,1 Answer()
        {near}: ChannelDialplan Wait(30) @ default,answer,2 Wait(30)
    of an originated leg to nowhere ends it [call] STASISSTATUS, and the place once more, before the end (pbx_outgoing_exec)
        POST /channels/{near}/continue?context=none -> 204
        {near}: StasisEnd @ none,s,1 Stasis({app}); ChannelVarset STASISSTATUS=SUCCESS
        {near}: ChannelDialplan AppDial2((Outgoing Line)) @ none,s,1 AppDial2((Outgoing Line)); ChannelDestroyed 0
    of a created leg ends it [dialled] It has no dialplan to go on with: cause 16 (resource_channels.c, stasis_app_exec_call_thread)
        POST /channels/{far}/answer -> 204
        await Dial {near} {"dialstatus": "ANSWER"}
        forget
        POST /channels/{near}/continue -> 204
        {near}: StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelDestroyed 16
    leaves the application [dialplan, call] What is in the dialplan can not be controlled: 409 (resource_channels.c, find_control)
        POST /channels/{far}/continue?context=default&extension=answer -> 204
        await ChannelDialplan {far} {"dialplan_app": "Wait", "dialplan_app_data": "30"}
        POST /channels/{far}/continue -> 409 "Channel not in Stasis application"
    to an application that is not there fails there [dialplan, call] Stasis sets STASISSTATUS to FAILED, and the dialplan goes on (app_stasis.c)
        POST /channels/{far}/continue?context=default&extension=app -> 204
        {far}: StasisEnd @ default,app,0 Stasis({app}); ChannelVarset STASISSTATUS=SUCCESS; ChannelDialplan Stasis(theapp,one,two)
        {far}: ChannelVarset STASISSTATUS=; ChannelVarset STASISSTATUS=FAILED; ChannelHangupRequest 16 soft @ default,app,2 (); ChannelDestroyed 0
""")
class TestContinue:
    """A channel goes on in the dialplan (pbx.c)."""


scenes("""
    other An application of its own, whose socket is read now
        open $other
""")


@script("""
    ends in one application and starts in the other [call, other] StasisEnd, then StasisStart; the dialplan stays as it was, no STASISSTATUS
        POST /channels/{far}/move?app=$other&appArgs=x,,y -> 204
        {far}: StasisStart x,y @ {context},100,1 Stasis({app})
        read {app}
        {far}: StasisEnd @ {context},100,1 Stasis({app})
    may be to the same application [call] Out and in again
        POST /channels/{far}/move?app={app} -> 204
        {far}: StasisEnd; StasisStart
    lets who originated listen on [call, other] Both applications hear the channel then (resource_channels.c)
        POST /channels/{far}/move?app=$other -> 204
        await StasisStart {far}
        do set X 1
        read {app}
        await ChannelVarset {far} {"variable": "X"}
    leaves the channel in its bridge [call, bridge, other] No bridge change
        POST /bridges/{bridge}/addChannel?channel={far} -> 204
        POST /channels/{far}/move?app=$other -> 204
        await StasisStart {far}
        GET /bridges/{bridge} -> 200 {"channels": ["{far}"]}
    to an unknown application fails later [call] 204, then ApplicationMoveFailed to the present application, which keeps the channel
        POST /channels/{far}/move?app=$none%1 -> 204
        await ApplicationMoveFailed {far} {"destination": "$none", "args": [%2]}
        POST /channels/{far}/answer -> 204
        | without arguments || with arguments | &appArgs=a,b | "a", "b"
    does not mind the state [created] No 412 (resource_channels.c, ast_ari_channels_move)
        POST /channels/{%1}/move?app={app} -> %2
        | of a created leg | near | 204 || but of the far leg of it | far | 409 "Channel not in Stasis application"
    needs an application [departure, call] It is required: 400; it crashes an Asterisk 16
        POST /channels/{far}/move -> 400 "Application name is required"
""")
class TestMove:
    """A channel changes its application (res_stasis.c, app_move)."""


# --- channels: snoop and external media ---

scenes("""
    snoop [call] A Snoop channel on the near leg, in the application
        POST /channels/{near}/snoop/$s?spy=both&app={app} -> 200
        await StasisStart $s
        snoop = $s
""")


@script("""
    refuses [unanswered] In this order (ari_channels_handle_snoop_channel)
        POST /channels/%1 -> %2
        | a bad direction to spy, before a bad one to whisper  | none/snoop?spy=x&whisper=x     | 400 "Invalid direction specified for spy"
        | a bad direction to whisper, before no direction      | none/snoop?whisper=x           | 400 "Invalid direction specified for whisper"
        | a direction in capitals                              | none/snoop?spy=BOTH&app={app}  | 400 "Invalid direction specified for spy"
        | no direction, before no application                  | none/snoop                     | 400 "Direction must be specified for at least spy or whisper"
        | the direction none twice                | none/snoop?spy=none&whisper=none | 400 "Direction must be specified for at least spy or whisper"
        | no application, before an unknown channel            | none/snoop?spy=both            | 400 "Application name is required"
        | an empty application                                 | none/snoop?whisper=in&app=     | 400 "Application name is required"
        | an unknown channel                  | none/snoop?spy=in&app={app} | 404 Channel Not Found "Provided channel was not found"
        | an id that is in use | {near}/snoop?spy=in&app={app}&snoopId={far} | 500 Internal error "Snoop channel could not be created"
    makes a channel by [call] 200 with a channel that is Up and comes into the application
        POST /channels/{near}/snoop?%1&app={app}&snoopId=$s -> 200 {"id": "$s", "name": "<Snoop/{near}-[0-9a-f]{8}>", "state": "Up",
            "dialplan": {"context": "default", "exten": "s", "priority": 1}}
        $s: StasisStart
        | spying on both | spy=both || spying on one | spy=in || whispering | whisper=out || spying and whispering | spy=out&whisper=both
    prefers the id of the path [call] The snoopId is ignored then (ast_ari_channels_snoop_channel_with_id)
        POST /channels/{near}/snoop/$path?spy=in&app={app}&snoopId=$query -> 200 {"id": "$path"}
    gives arguments [call] With appArgs
        POST /channels/{near}/snoop/$s?spy=in&app={app}&appArgs=a,b -> 200
        await StasisStart $s {"args": ["a", "b"]}
        GET /channels/$s -> 200 {"dialplan": {"app_name": "Stasis", "app_data": "{app},a,b"}}
    has a status of the application it runs [snoop] STASISSTATUS, empty as long as it is inside (app_stasis.c)
        GET /channels/{snoop}/variable?variable=STASISSTATUS -> 200 = {"value": ""}
    goes on in the dialplan [snoop] A place that exists is run, as with other channels (stasis_app_exec)
        POST /channels/{snoop}/continue?context={context}&extension=1 -> 204
        {snoop}: StasisEnd; StasisStart
        GET /channels/{snoop}/variable?variable=STASISSTATUS -> 200 = {"value": ""}
    ends when it is hung up [snoop] And its target does not
        DELETE /channels/{snoop} -> 204
        {snoop}: ChannelHangupRequest 32 soft; StasisEnd
        GET /channels/{near} -> 200
    ends with its target [snoop] StasisEnd alone
        DELETE /channels/{near} -> 204
        {snoop}: StasisEnd
    on a leg that nobody has called ends with the call [created] As on any other
        POST /channels/{far}/snoop/$s?spy=both&app={app} -> 200
        await StasisStart $s
        DELETE /channels/{near} -> 204
        $s: StasisEnd
        eventually GET /channels/$s -> 404 "Channel not found"
    into no application leaves nothing [departure, call] The channel is simply gone; Asterisk keeps it in its list until its target ends
        POST /channels/{near}/snoop/$s?spy=in&app=$none -> 200
        eventually GET /channels/$s -> 404 "Channel not found"
""")
class TestSnoop:
    """A channel that hears and speaks into another (resource_channels.c, res_stasis_snoop.c)."""

    SNOOPS = 600 if IN_PROCESS else 20      # one upon the other

    def test_of_a_snoop_of_a_snoop_ends_with_the_first(self, half_a_stack, ari, events, call):
        """However many there are."""
        target = call.far
        for number in range(self.SNOOPS):
            snoop = ari.id("s%d" % number)
            expect(ari.post("/channels/%s/snoop/%s" % (target, snoop), {"spy": "both", "app": ari.app}), status=200)
            target = snoop
        expect(ari.delete("/channels/" + call.near), status=204)
        for snoop in (ari.id("s0"), target):
            ari.eventually("/channels/" + snoop, **NO_CHANNEL)


@script("""
    are made for In this order
        POST /channels/externalMedia %1 -> %2
        | a variable that is no text, before a missing app | {"variables": {"A": 1}} | 400 "Only string values in the 'variables' object allowed"
        | no app, before a missing host | | 400 "app cannot be empty" || an empty app | ?app= | 400 "app cannot be empty"
        | no host | ?app=a&encapsulation=zip | 400 "external_host cannot be empty"
        | an empty host | ?app=a&external_host= | 400 "external_host cannot be empty"
        | a host without a port | ?app=a&external_host=127.0.0.1 | 400 "external_host must be <host>:<port>"
        | no format, before a bad encapsulation | ?app=a&external_host=127.0.0.1:9&encapsulation=zip | 400 "format cannot be empty"
        | an empty format | ?app=a&external_host=127.0.0.1:9&format= | 400 "format cannot be empty"
        | an unknown encapsulation, before an unknown format | ?app=a&external_host=127.0.0.1:9&format=none&encapsulation=zip | 501 "The encapsulation and/or transport is not supported"
        | an unknown transport | ?app=a&external_host=127.0.0.1:9&format=ulaw&transport=tcp | 501 "The encapsulation and/or transport is not supported"
        | an unknown format | ?app=a&external_host=127.0.0.1:9&format=nofmt | 400 "Provided format (nofmt) was not found"
        | a host without an address | ?app=a&external_host=:9&format=ulaw | 500 = {"error": "Allocation failed"}
    are made for an id that is in use [unanswered] 409 (ari_channels_handle_originate_with_id)
        POST /channels/externalMedia?app={app}&external_host=127.0.0.1:9&format=ulaw&channelId={near} -> 409
            "Channel with given unique ID already exists"
    are made for a host of an unknown name 500 (chan_rtp.c, unicast_rtp_request)
        POST /channels/externalMedia?app={app}&external_host=nowhere.invalid:4000&format=ulaw -> 500 = {"error": "Allocation failed"}
""")
class TestExternalMediaRefusals:
    """Refusals (resource_channels.c, ast_ari_channels_external_media)."""


@script("""
    makes a channel 200 with the channel: Down, named after the host (resource_channels.c, external_media_rtp_udp)
        POST /channels/externalMedia?app={app}&external_host=127.0.0.1:9&format=ulaw&channelId=$x&encapsulation=RTP&transport=Udp&connection_type=any&direction=any
            -> 200 {"id": "$x", "name": "<UnicastRTP/127\\\\.0\\\\.0\\\\.1:9-0x[0-9a-f]+>", "state": "Down",
            "dialplan": {"context": "default", "exten": "s", "priority": 1, "app_name": "AppDial2", "app_data": "(Outgoing Line)"}}
    comes into the application at once Dialled and answered by itself (dial.c)
        POST /channels/externalMedia?app={app}&external_host=127.0.0.1:9&format=ulaw&channelId=$x -> 200
        $x: Dial; ChannelStateChange Up; Dial ANSWER; ChannelVarset STASISSTATUS=; StasisStart
    knows where it listens Two variables
        POST /channels/externalMedia?app={app}&external_host=127.0.0.1:9&format=ulaw&channelId=$x -> 200
        GET /channels/$x/variable?variable=UNICASTRTP_LOCAL_ADDRESS -> 200 = {"value": "<text>"}
        GET /channels/$x/variable?variable=UNICASTRTP_LOCAL_PORT -> 200 = {"value": "<[0-9]+>"}
    has the variables that it was given As with POST /channels (resource_channels.c, external_media_rtp_udp)
        POST /channels/externalMedia?app={app}&external_host=127.0.0.1:9&format=ulaw&channelId=$x {"variables": {"Q": "v"}} -> 200
        GET /channels/$x/variable?variable=Q -> 200 = {"value": "v"}
    ends as the near leg of a call At DELETE (channel.c)
        POST /channels/externalMedia?app={app}&external_host=127.0.0.1:9&format=ulaw&channelId=$x -> 200
        await StasisStart $x
        forget
        DELETE /channels/$x -> 204
        $x: ChannelHangupRequest 32 soft; StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelDestroyed 16
""")
class TestExternalMedia:
    """A channel to a program that speaks RTP (chan_rtp.c, unicast_rtp_request)."""

    def test_listens_at_a_port_of_its_own(self, ari, events):
        """Two channels, two UDP ports."""
        ports = set()
        for word in ("x", "y"):
            params = {"app": ari.app, "external_host": "127.0.0.1:9", "format": "ulaw", "channelId": ari.id(word)}
            expect(ari.post("/channels/externalMedia", params), status=200)
            ports.add(ari.get("/channels/%s/variable" % ari.id(word), {"variable": "UNICASTRTP_LOCAL_PORT"}).json["value"])
        assert len(ports) == 2


class Program:
    """The program behind external media: a UDP socket, and packets as RFC 3550 5.1 has them."""

    def __init__(self, ari, **params):
        self.ari, self.sock = ari, socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:        # from which address the server is reached
            asking.connect((ari.server.host, ari.server.port))
            self.sock.bind((asking.getsockname()[0], 0))
        self.sock.settimeout(10)
        self.params = {"app": ari.app, "external_host": "%s:%d" % self.sock.getsockname(), "format": "ulaw", **params}

    def open(self, word, events):
        """The channel of this program, in its application."""
        channel = self.ari.post("/channels/externalMedia", {**self.params, "channelId": self.ari.id(word)}).json
        events.expect("StasisStart", channel=channel["id"])
        self.place = (channel["channelvars"]["UNICASTRTP_LOCAL_ADDRESS"], int(channel["channelvars"]["UNICASTRTP_LOCAL_PORT"]))
        return channel["id"]

    def packet(self):
        """(first byte, second byte, sequence, timestamp, source, payload) of the next packet."""
        data = self.sock.recv(10_000)
        return (*struct.unpack(">BBHII", data[:12]), data[12:])

    def send(self, *payloads, payload_type=0):
        for number, payload in enumerate(payloads):
            self.sock.sendto(struct.pack(">BBHII", 0x80, payload_type, number, 160 * number, 7) + payload, self.place)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.sock.close()


class TestRtp:
    """Media of a channel as packets."""

    @rows("name, payload_type, silence, step",
          ("ulaw", "ulaw", 0, b"\xff" * 160, 160), ("alaw", "alaw", 8, b"\xd5" * 160, 160),
          ("slin, as ulaw", "slin", 0, b"\xff" * 160, 160),
          ("slin16", "slin16", 118, bytes(640), 320),
          ("slin48", "slin48", 126, bytes(1920), 960), ("slin12", "slin12", 122, bytes(480), 240))
    def test_carries_20_ms_of(self, ari, events, name, payload_type, silence, step):
        """Silence, where somebody always sends: sequence numbers by one, timestamps by samples (res_rtp_asterisk.c, rtp_engine.c)."""
        with Program(ari, format=name) as program:
            channel = program.open("x", events)
            bridge = ari.post("/bridges", {"type": "mixing,video_sfu"}).json["id"]
            expect(ari.post("/bridges/%s/addChannel" % bridge, {"channel": channel}), status=204)
            packets = [program.packet() for _ in range(4)]
        for before, packet in zip(packets, packets[1:]):
            assert packet[:2] == (0x80, payload_type) and packet[5] == silence and packet[4] == before[4]
            assert ((packet[2] - before[2]) & 0xFFFF, (packet[3] - before[3]) & 0xFFFFFFFF) == (1, step)

    def test_sends_nothing_where_nobody_does(self, ari, events):
        """In no bridge, and alone in one that does not mix; a playback begins it (chan_rtp.c, rtp_write)."""
        with Program(ari) as program:
            channel = program.open("x", events)
            bridge = ari.post("/bridges", {"type": "mixing"}).json["id"]
            expect(ari.post("/bridges/%s/addChannel" % bridge, {"channel": channel}), status=204)
            program.sock.settimeout(0.3)
            with pytest.raises(socket.timeout):
                program.packet()
            program.sock.settimeout(10)
            expect(ari.post("/bridges/%s/play" % bridge, {"media": "tone:ring"}), status=201)
            assert len(program.packet()[5]) == 160

    def test_translates_what_another_program_sends(self, ari, events):
        """The loudest of mu-law is the loudest of A-law (ITU-T G.711)."""
        with Program(ari, format="alaw") as program, Program(ari) as other:
            channels = [program.open("x", events), other.open("y", events)]
            bridge = ari.post("/bridges", {"type": "mixing"}).json["id"]
            expect(ari.post("/bridges/%s/addChannel" % bridge, {"channel": ",".join(channels)}), status=204)
            for _ in range(20):         # of which the first may come before the bridge knows of them
                other.send(b"\x80" * 160)
                threading.Event().wait(0.02)
            heard = [program.packet() for _ in range(5)]
        assert {(packet[1] & 0x7F, packet[5]) for packet in heard} == {(8, b"\xaa" * 160)}

    def test_passes_on_what_another_program_sends(self, ari, events):
        """In the order in which it came (bridge_simple.c)."""
        with Program(ari) as program, Program(ari) as other:
            channels = [program.open("x", events), other.open("y", events)]
            bridge = ari.post("/bridges", {"type": "mixing"}).json["id"]
            expect(ari.post("/bridges/%s/addChannel" % bridge, {"channel": ",".join(channels)}), status=204)
            payloads = [bytes([number]) * 160 for number in range(1, 20)]
            for payload in payloads:    # of which the first may come before the bridge knows of them
                other.send(payload)
                threading.Event().wait(0.02)
            heard = [program.packet()[5] for _ in range(10)]
        assert heard == payloads[payloads.index(heard[0]):][:10]


# --- bridges: make, look, destroy ---

USUAL["bridge"] = {"technology": "simple_bridge", "bridge_type": "mixing", "bridge_class": "stasis", "creator": "Stasis", "name": "",
                   "channels": [], "creationtime": "<timestamp>", "video_mode": "talker"}


@script("""
    is made with 200, and not 201, with the bridge (ast_ari_bridges_create)
        POST %1 -> 200 = bridge {"id": "$b"}
        | an id in the path | /bridges/$b || an id in the query | /bridges?bridgeId=$b || an id in JSON | /bridges {"bridgeId": "$b"}
        | an id in a form | /bridges form: bridgeId=$b || an id in the path and another elsewhere | /bridges/$b?bridgeId=other
    is made with an id of its own Without an id: a UUID (bridge.c, bridge_base_init)
        POST /bridges?name=$n -> 200 = bridge {"id": "<uuid>", "name": "$n"}
    has a type Words that decide type, technology and video mode (bridges_create)
        POST /bridges/$b?type=%1 -> 200 = bridge {%2 "id": "$b"}
        | mixing | mixing || nothing: mixing || holding | holding | "bridge_type": "holding", "technology": "holding_bridge",
        | mixing with features that do not show | mixing,dtmf_events,proxy_media || mixing with blanks and unknown words | +mixing+,+bogus+
        | a single video | mixing,video_single | "video_mode": "single",
        | video for all | video_sfu | "video_mode": "sfu", "technology": "softmix",
        | video for all, whatever else | video_sfu,holding,mixing | "video_mode": "sfu", "technology": "softmix",
    can not be made as Neither or both of mixing and holding: 500 (res_stasis.c)
        POST /bridges/$b?type=%1 -> 500 Internal Error "Unable to create bridge"
        GET /bridges/$b -> 404 "Bridge not found"
        | both mixing and holding | mixing,holding || an unknown word alone | bogus || a word in another case | Mixing
        | a feature alone | dtmf_events
    may be made again with 200 without a body and a type, and nothing changes (ast_ari_bridges_create_with_id)
        POST /bridges/$b?name=one -> 200
        POST /bridges/$b %1 -> 200 empty
        header Content-type:
        header Content-Length: 0
        GET /bridges/$b -> 200 = bridge {"id": "$b", "name": "one"}
        | no parameters || the same name | ?name=one || an empty name | ?name=
    can not be made again with 500 (ast_ari_bridges_create_with_id)
        POST /bridges/$b?name=one -> 200
        POST /bridges/$b?%1 -> 500 Internal Error "%2"
        | another name                      | name=two              | Changing bridge name is not implemented
        | a type                            | type=mixing           | Supplying a bridge type when updating a bridge is not allowed.
        | both: the name is looked at first | name=two&type=mixing  | Changing bridge name is not implemented
        | a type and the same name          | name=one&type=holding | Supplying a bridge type when updating a bridge is not allowed.
    can not be made twice by a query [departure] The bridgeId of one that exists is as the id in the path; Asterisk makes a second one
        POST /bridges/$b?name=one -> 200
        POST /bridges?bridgeId=$b&name=two -> 500 Internal Error "Changing bridge name is not implemented"
    is destroyed [bridge] 204, and it is gone (ast_ari_bridges_destroy)
        DELETE /bridges/{bridge} -> 204 empty
        GET /bridges/{bridge} -> 404 "Bridge not found"
    can be made anew when it was destroyed The id is free
        POST /bridges/$b?name=one -> 200
        DELETE /bridges/$b -> 204
        POST /bridges/$b?name=two -> 200 = bridge {"id": "$b", "name": "two"}
    is announced to who hears of all To those subscribed to all bridges (stasis/app.c)
        POST /applications/{app}/subscription?eventSource=bridge: -> 200
        POST /bridges/$b -> 200
        %1
        await %0 {"bridge": "$b"} = bridge {"id": "$b"}
        | BridgeCreated || BridgeDestroyed | DELETE /bridges/$b -> 204
    that is unknown can not be 404 with a small f, before any parameter is looked at (find_bridge)
        %1 -> 404 Not found "Bridge not found"
        | destroyed | DELETE /bridges/$none || added to | POST /bridges/$none/addChannel
        | removed from | POST /bridges/$none/removeChannel || given a video source | POST /bridges/$none/videoSource/none
        | given no video source | DELETE /bridges/$none/videoSource || given music | POST /bridges/$none/moh
        | given no music | DELETE /bridges/$none/moh || played to | POST /bridges/$none/play?skipms=-1
        | played to with an id | POST /bridges/$none/play/p || recorded | POST /bridges/$none/record?maxDurationSeconds=-1
    that is unknown can not be shown 404 with the usual phrase (ast_ari_bridges_get)
        GET /bridges/$none -> 404 Not Found "Bridge not found"
""")
class TestBridge:
    """A bridge is made, shown and destroyed (resource_bridges.c)."""

    def test_is_listed_as_it_is_shown(self, ari):
        """GET /bridges, in no promised order (ast_ari_bridges_list)."""
        bridge = ari.bridge(name="n")
        reply = expect(ari.get("/bridges"), status=200)
        if [one for one in reply.json if one["id"] == bridge] != [ari.get("/bridges/" + bridge).json]:
            fail(reply.request, "a list with the bridge as GET /bridges/ID shows it", str(reply))


# --- bridges: channels in them ---

def add(ari, bridge, *channels, **more):
    """POST /bridges/ID/addChannel: 204."""
    expect(ari.post("/bridges/%s/addChannel" % bridge, dict(more, channel=",".join(channels))), status=204)


scenes("""
    bridge A mixing bridge with nobody in it
        POST /bridges/$bridge -> 200
        bridge = $bridge
    join Far leg %1 of a call enters the bridge
        do legs near_%1 far_%1 %2
        %1 = $far_%1
        POST /bridges/{bridge}/addChannel?channel={%1} -> 204
        await ChannelEnteredBridge {%1}
    alone [bridge] A far leg {a} of the name {A}, whose near leg is {near_a}, is in the bridge
        do join a A
        forget
    couple [alone] A second one, b, has joined
        do join b B
        await ChannelVarset {a} {"variable": "BRIDGEPEER"}
        await ChannelVarset {b} {"variable": "BRIDGEPEER"}
        forget
    crowd [couple] And a third
        do join c C
        await ChannelVarset {a} {"variable": "BRIDGEPEER"}
        await ChannelVarset {b} {"variable": "BRIDGEPEER"}
        await ChannelVarset {c} {"variable": "BRIDGEPEER"}
        forget
    third [couple] A third call is up, and not in the bridge
        do legs near_c far_c C
        c = $far_c
    strangers [bridge] Two calls of Ann and Bob, and a bridge
        do legs near_a far_a A &callerId=Ann%20%3C1%3E
        do legs near_b far_b B &callerId=Bob%20%3C2%3E
        a = $far_a
        b = $far_b
""")
bridge = scene("bridge", "bridge")
alone, couple, crowd, third, strangers = map(scene, ("alone", "couple", "crowd", "third", "strangers"))


@script("""
    are made for [unanswered, bridge] From the left, the first fault counts (get_channels and find_channel_control)
        POST /bridges/{bridge}/%1 %2 -> %3
        | to add | addChannel || to remove | removeChannel
        x
        | no channel                                  |                             | 400 "Missing parameter channel"
        | an empty one                                | ?channel=                   | 400 "Missing parameter channel"
        | several empty ones                          | ?channel=,,                 | 400 "Missing parameter channel"
        | an empty JSON list                          | {"channel": []}             | 400 "Missing parameter channel"
        | a JSON number                               | {"channel": 5}              | 400 "Missing parameter channel"
        | an unknown one                              | ?channel=none               | 400 "Channel not found"
        | one in no application                       | ?channel={near}             | 422 "Channel not in Stasis application"
        | an unknown one before one in no application | ?channel=none,{near}        | 400 "Channel not found"
        | one in no application before an unknown one | ?channel={near},none        | 422 "Channel not in Stasis application"
        | two in one JSON text                        | {"channel": "{far},{near}"} | 400 "Channel not found"
        | one with a blank before it                  | ?channel=,%20{far}          | 400 "Channel not found"
    add nothing [call, bridge] An unknown channel after a good one: nobody enters (ast_ari_bridges_add_channel)
        POST /bridges/{bridge}/addChannel?channel={far},none -> 400 "Channel not found"
        GET /bridges/{bridge} -> 200 {"channels": []}
    remove a channel that is in no bridge [call, bridge] 422 (check_add_remove_channel)
        POST /bridges/{bridge}/removeChannel?channel={far} -> 422 "Channel not in this bridge"
    remove a channel that is in another bridge [alone] 422 (check_add_remove_channel)
        POST /bridges/$b -> 200
        POST /bridges/$b/removeChannel?channel={a} -> 422 "Channel not in this bridge"
    remove nothing when one [alone] All are checked first (ast_ari_bridges_remove_channel)
        POST /bridges/{bridge}/removeChannel?channel={a},%1 -> %2
        GET /bridges/{bridge} -> 200 {"channels": ["{a}"]}
        | is unknown | none | 400 "Channel not found" || is not inside | {near_a} | 422 "Channel not in this bridge"
    add a channel that is being recorded [call] 409 (res_stasis.c, app_control_check_rules)
        POST /channels/{far}/record?name=$r&format=wav -> 201
        await RecordingStarted
        POST /bridges/$b -> 200
        POST /bridges/$b/addChannel?channel={far} -> 409 "Channel {far} currently recording"
""")
class TestAddAndRemoveChannelRefusals:
    """Refusals (resource_bridges.c)."""


@script("""
    is asked for by [call, bridge] 204 (resource_bridges.c, ast_ari_bridges_add_channel)
        POST /bridges/{bridge}/addChannel %1 -> 204 empty
        await ChannelEnteredBridge {far}
        GET /bridges/{bridge} -> 200 {"channels": ["{far}"]}
        | a query | ?channel={far} || JSON | {"channel": "{far}"} || a JSON list | {"channel": ["{far}"]} || a form | form: channel={far}
        | a list with empty members | ?channel=,{far},
    may be of several at once [strangers] One after the other (resource_bridges.c, ast_ari_bridges_add_channel)
        POST /bridges/{bridge}/addChannel?channel={b},{a} -> 204
        await ChannelEnteredBridge {b} {"bridge": {"channels": ["{b}"]}}
        await ChannelEnteredBridge {a} {"bridge": {"channels": ["{a}", "{b}"]}}
    leaves the ids sorted [strangers] By byte value, not by time (stasis_bridges.c, ast_bridge_snapshot_create)
        POST /bridges/{bridge}/addChannel?channel={b},{a} -> 204
        await ChannelEnteredBridge {a}
        GET /bridges/{bridge} -> 200 {"channels": ["{a}", "{b}"]}
    tells each of two its peer [strangers] BRIDGEPEER is the other's name (bridge.c, set_bridge_peer_vars_2party)
        POST /bridges/{bridge}/addChannel?channel={a} -> 204
        POST /bridges/{bridge}/addChannel?channel={b} -> 204
        {a}: ChannelEnteredBridge {bridge} simple_bridge; ChannelVarset BRIDGEPEER={B}
        {b}: ChannelEnteredBridge {bridge} simple_bridge; ChannelVarset BRIDGEPEER={A}
    of a third makes a softmix [crowd] More than two members: softmix (bridge.c, smart_bridge_operation)
        eventually GET /bridges/{bridge} -> 200 {"technology": "softmix", "channels": ["{a}", "{b}", "{c}"]}
    of a third is told with the technology of before [third] The event comes before the switch (bridge_channel.c, bridge_channel_internal_push_full)
        POST /bridges/{bridge}/addChannel?channel={c} -> 204
        {c}: ChannelEnteredBridge {bridge} simple_bridge
    of a third puts it first among the peers [third] The switch to softmix moves it to the head of the list (bridge.c, set_bridge_peer_vars)
        POST /bridges/{bridge}/addChannel?channel={c} -> 204
        await ChannelEnteredBridge {c}
        {c}: ChannelVarset BRIDGEPEER={A},{B}
        {a}: ChannelVarset BRIDGEPEER={C},{B}
        {b}: ChannelVarset BRIDGEPEER={C},{A}
    into another bridge, or the same again, leaves the old one first [alone] ChannelLeftBridge, then ChannelEnteredBridge (res_stasis.c, control_swap_channel_in_bridge)
        %1
        POST /bridges/%2/addChannel?channel={a} -> 204
        {a}: ChannelLeftBridge {bridge} simple_bridge; ChannelEnteredBridge %2 simple_bridge
        | which is another one | POST /bridges/$b -> 200 | $b || which is the same | | {bridge}
    takes [call, bridge] Not validated, and not seen in the bridge (resource_bridges.c)
        POST /bridges/{bridge}/addChannel?channel={far}&%1 -> 204
        await ChannelEnteredBridge {far} = bridge {"id": "{bridge}", "channels": ["{far}"]}
        | an unknown role | role=bogus || mute | mute=true || absorbDTMF | absorbDTMF=yes
    does not join both legs of a pair [departure, alone] The bridge can be destroyed; Asterisk keeps it for ever
        POST /bridges/{bridge}/addChannel?channel={near_a} -> 204
        never ChannelEnteredBridge {near_a}
        POST /bridges/{bridge}/removeChannel?channel={near_a} -> 422 "Channel not in this bridge"
    is told with bridge and channel [call, bridge] The event shows the channel in the bridge (stasis_bridges.c)
        POST /bridges/{bridge}/addChannel?channel={far} -> 204
        await ChannelEnteredBridge {far} {"bridge": {"id": "{bridge}", "channels": ["{far}"]}}
""")
class TestJoining:
    """A channel enters a bridge."""


@script("""
    is told with the bridge and without the channel [alone] (stasis_bridges.c)
        POST /bridges/{bridge}/removeChannel?channel={a} -> 204
        await ChannelLeftBridge {a} {"bridge": {"id": "{bridge}", "channels": []}}
    is asked for by [alone] (resource_bridges.c, ast_ari_bridges_remove_channel)
        POST /bridges/{bridge}/removeChannel %1 -> 204
        {a}: ChannelLeftBridge {bridge} simple_bridge
        | a query | ?channel={a} || JSON | {"channel": ["{a}"]} || a form | form: channel={a}
    takes the peer away first [couple] BRIDGEPEER is unset, which tells of an empty one (bridge_channel.c, bridge_channel_internal_pull)
        POST /bridges/{bridge}/removeChannel?channel={a} -> 204
        {a}: ChannelVarset BRIDGEPEER=; ChannelLeftBridge {bridge} simple_bridge
        GET /channels/{a}/variable?variable=BRIDGEPEER -> 404 Variable Not Found "Provided variable was not found"
    leaves who stays alone its old peer [couple] With fewer than two members nobody is told (bridge.c, set_bridge_peer_vars)
        POST /bridges/{bridge}/removeChannel?channel={a} -> 204
        await ChannelLeftBridge {a}
        GET /channels/{b}/variable?variable=BRIDGEPEER -> 200 = {"value": "{A}"}
    of one of three makes it simple again [crowd] Told with the old technology; then the others are peers (bridge.c, smart_bridge_operation)
        POST /bridges/{bridge}/removeChannel?channel={a} -> 204
        {a}: ChannelVarset BRIDGEPEER=; ChannelLeftBridge {bridge} softmix
        {b}: ChannelVarset BRIDGEPEER={C}
        {c}: ChannelVarset BRIDGEPEER={B}
        eventually GET /bridges/{bridge} -> 200 {"technology": "simple_bridge"}
    by hanging up comes before the end [alone] The bridge stays (res_stasis.c)
        DELETE /channels/{a} -> 204
        {a}: ChannelHangupRequest 32 soft; ChannelLeftBridge {bridge} simple_bridge; StasisEnd
        GET /bridges/{bridge} -> 200 {"channels": []}
    by hanging up takes the peer away too [couple] BRIDGEPEER between request and leaving (bridge_channel.c)
        DELETE /channels/{a} -> 204
        {a}: ChannelHangupRequest 32 soft; ChannelVarset BRIDGEPEER=; ChannelLeftBridge {bridge} simple_bridge; StasisEnd
    by destroying the bridge keeps the channels [couple] They leave, and stay in their application (resource_bridges.c, ast_ari_bridges_destroy)
        DELETE /bridges/{bridge} -> 204
        await ChannelLeftBridge {a}
        await ChannelLeftBridge {b}
        POST /channels/{a}/answer -> 204
        POST /channels/{b}/answer -> 204
""")
class TestLeaving:
    """A channel leaves a bridge."""


@script("""
    is the application of a channel in it [call, bridge] It is subscribed before the channel enters (control_add_channel_to_bridge)
        POST /bridges/{bridge}/addChannel?channel={far} -> 204
        await ChannelEnteredBridge {far}
        GET /applications/{app} -> 200 {"bridge_ids": ["{bridge}"]}
    is nobody any more when the last channel left [alone] The subscription ends after ChannelLeftBridge
        POST /bridges/{bridge}/removeChannel?channel={a} -> 204
        await ChannelLeftBridge
        eventually GET /applications/{app} -> 200 {"bridge_ids": []}
    is the application still after another channel left [couple] Counted by channels (stasis/app.c)
        POST /bridges/{bridge}/removeChannel?channel={a} -> 204
        await ChannelLeftBridge
        GET /applications/{app} -> 200 {"bridge_ids": ["{bridge}"]}
    is the application twice [alone] It has to unsubscribe twice (stasis/control.c)
        DELETE /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200 {"bridge_ids": ["{bridge}"]}
        DELETE /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200 {"bridge_ids": []}
        DELETE /applications/{app}/subscription?eventSource=bridge:{bridge} -> 422
    is the application once after a channel went to the dialplan [alone] Only one of its two subscriptions ends (stasis_app_exec)
        POST /channels/{a}/continue?context=nowhere&extension=1 -> 204
        await ChannelDestroyed {a}
        DELETE /applications/{app}/subscription?eventSource=bridge:{bridge} -> 200 {"bridge_ids": []}
        DELETE /applications/{app}/subscription?eventSource=bridge:{bridge} -> 422
    is the application still after a hangup [alone] A channel that hung up leaves the subscription: BridgeDestroyed comes
        DELETE /channels/{a} -> 204
        await ChannelDestroyed {a}
        DELETE /bridges/{bridge} -> 204
        await BridgeDestroyed {bridge}
    is not told of the end by having had a channel in it [alone] The channels leave, which unsubscribes, before BridgeDestroyed
        DELETE /bridges/{bridge} -> 204
        await ChannelLeftBridge {a}
        never BridgeDestroyed {bridge}
""")
class TestWhoHearsOfABridge:
    """Subscriptions that come from channels in it (res_stasis.c)."""

    def test_is_told_of_channels_of_others(self, ari, events, alone):
        """An application hears all of a bridge that holds a channel of its own (stasis/app.c)."""
        other = ari.events(ari.app + "-2")
        stranger, _ = ari.pair(other, "other")
        add(ari, alone.bridge, stranger)
        events.expect("ChannelEnteredBridge", channel=stranger, application=ari.app)
        other.expect("ChannelEnteredBridge", channel=stranger, application=other.app)

    def test_is_not_told_the_peers_of_others(self, ari, events, alone):
        """BRIDGEPEER goes to the application of the channel alone (stasis/app.c)."""
        other = ari.events(ari.app + "-2")
        stranger, _ = ari.pair(other, "other")
        add(ari, alone.bridge, stranger)
        other.expect("ChannelVarset", variable="BRIDGEPEER", channel=stranger)
        events.expect("ChannelVarset", variable="BRIDGEPEER", channel=alone.a)
        events.expect_none("ChannelVarset", channel=stranger)


@script("""
    are told again at a mute [couple] When a channel is muted at all, or no more, all members are told (res_mutestream.c)
        POST /channels/{a}/mute?direction=in -> 204
        {a}: ChannelVarset BRIDGEPEER={B}
        {b}: ChannelVarset BRIDGEPEER={A}
    are not told again at [couple] These do not touch the bridge
        POST /channels/{a}/%1 -> 204
        never ChannelVarset {b} {"variable": "BRIDGEPEER"}
        | a hold | hold || music | moh || silence | silence || ringing | ring
    are told again at a snoop [couple] A hook on a member renews them (res_stasis_snoop.c)
        POST /channels/{a}/snoop?spy=both&app={app} -> 200
        {b}: ChannelVarset BRIDGEPEER={A}
    include the announcer of a playback [alone, sound] It counts as a member, and is not shown in the bridge (resource_bridges.c)
        POST /bridges/{bridge}/play?media=sound:{sound}&offsetms=900 -> 201
        await ChannelVarset {a} {"variable": "BRIDGEPEER", "value": "<Announcer/ARI-[0-9a-f]{8};2>"}
        GET /bridges/{bridge} -> 200 {"channels": ["{a}"]}
    include [alone] An inner channel (resource_bridges.c)
        POST /bridges/{bridge}/%1
        await ChannelVarset {a} {"variable": "BRIDGEPEER", "value": "<%2-[0-9a-f]{8};2>"}
        | the music | moh -> 204 | Announcer/ARI_MOH || the recorder | record?name=$r&format=wav -> 201 | Recorder/ARI
""")
class TestPeersInABridge:
    """BRIDGEPEER (bridge.c)."""


@script("""
    are exchanged by two [strangers] Each is connected to the other's caller, told after its BRIDGEPEER (bridge_channel.c; bridge_basic)
        POST /bridges/{bridge}/addChannel?channel={a},{b} -> 204
        {a}: ChannelEnteredBridge {bridge} simple_bridge; ChannelVarset BRIDGEPEER={B}; ChannelConnectedLine Bob <2>
        {b}: ChannelEnteredBridge {bridge} simple_bridge; ChannelVarset BRIDGEPEER={A}; ChannelConnectedLine Ann <1>
    reach the other leg without a word [strangers] Its caller is the new one: seen in ChannelHangupRequest, told at the end (core_unreal.c)
        POST /bridges/{bridge}/addChannel?channel={a},{b} -> 204
        await ChannelConnectedLine {"channel": {"id": "{a}", "connected": {"number": "2"}}}
        GET /channels/{near_a} -> 200 {"caller": {"number": "1"}}
        DELETE /channels/{near_a} -> 204
        await ChannelHangupRequest {"channel": {"id": "{near_a}", "caller": {"name": "Bob", "number": "2"}}}
        await ChannelCallerId {"channel": {"id": "{near_a}", "caller": {"name": "Bob", "number": "2"}}}
    are cleared by music [strangers] Inner channels have no caller (bridge_channel.c)
        POST /bridges/{bridge}/addChannel?channel={a} -> 204
        POST /bridges/{bridge}/moh -> 204
        await ChannelConnectedLine {"channel": {"id": "{a}", "connected": {"name": "", "number": ""}}}
    are left alone in a holding bridge [strangers] No peers there (bridge.c)
        POST /bridges/$b?type=holding -> 200
        POST /bridges/$b/addChannel?channel={a},{b} -> 204
        await ChannelEnteredBridge {b}
        never ChannelConnectedLine
        never ChannelVarset {"variable": "BRIDGEPEER"}
""")
class TestConnectedLinesInABridge:
    """Connected lines of channels in a bridge."""


@script("""
    stays what it is [crowd] Whatever its members (bridge_holding.c)
        POST /bridges/$b?type=holding -> 200
        POST /bridges/$b/addChannel?channel={a},{b},{c} -> 204
        await ChannelEnteredBridge {c} {"bridge": "$b"}
        GET /bridges/$b -> 200 = bridge {"id": "$b", "bridge_type": "holding", "technology": "holding_bridge", "channels": ["{a}", "{b}", "{c}"]}
    plays to all [call, sound] By an announcer (resource_bridges.c)
        POST /bridges/$b?type=holding -> 200
        POST /bridges/$b/addChannel?channel={far} -> 204
        POST /bridges/$b/play/$p?media=sound:{sound}&offsetms=900 -> 201
        $p: PlaybackStarted sound:{sound} playing; PlaybackFinished sound:{sound} done
    has one announcer [call] With a channel in that role a playback fails at once (bridge_holding.c)
        POST /bridges/$b?type=holding -> 200
        POST /bridges/$b/addChannel?channel={far}&role=announcer -> 204
        POST /bridges/$b/play/$p?media=tone:ring -> 201
        $p: PlaybackStarted tone:ring playing; PlaybackFinished tone:ring failed
""")
class TestHoldingBridge:
    """A bridge of type holding."""


@script("""
    is started and stopped [bridge] 204 each (ast_ari_bridges_start_moh, ..._stop_moh)
        POST /bridges/{bridge}/moh -> 204 empty
        DELETE /bridges/{bridge}/moh -> 204 empty
    may be started [bridge] The class is not validated
        POST /bridges/{bridge}/moh -> 204
        POST /bridges/{bridge}/moh %1 -> 204
        | again || with another class | ?mohClass=none
    can not be stopped [bridge] 409 (ast_ari_bridges_stop_moh)
        %1
        %2
        DELETE /bridges/{bridge}/moh -> 409 "Bridge isn't playing music"
        | that never played || that does not play any more | POST /bridges/{bridge}/moh -> 204 | DELETE /bridges/{bridge}/moh -> 204
""")
class TestMusicInABridge:
    """Music on hold in a bridge (resource_bridges.c)."""


scenes("""
    watched [alone] The only channel of the bridge is its video source
        POST /bridges/{bridge}/videoSource/{a} -> 204
        await BridgeVideoSourceChanged
""")


@script("""
    can not be a channel that [unanswered, bridge] 400, 422, 422 (resource_bridges.c, ast_ari_bridges_set_video_source)
        POST /bridges/{bridge}/videoSource/%1 -> %2
        | is unknown | none | 400 "Channel not found" || is in no application | {near} | 422 "Channel not in Stasis application"
        | is not in the bridge | {far} | 422 "Channel not in this bridge"
    is set [alone] 204, BridgeVideoSourceChanged, and the bridge shows it (bridge.c, ast_bridge_set_single_src_video_mode)
        POST /bridges/{bridge}/videoSource/{a} -> 204 empty
        never BridgeVideoSourceChanged {"old_video_source_id": "<.*>"}
        await BridgeVideoSourceChanged = bridge {"id": "{bridge}", "channels": ["{a}"], "video_mode": "single", "video_source_id": "{a}"}
        GET /bridges/{bridge} -> 200 = bridge {"id": "{bridge}", "channels": ["{a}"], "video_mode": "single", "video_source_id": "{a}"}
    may be cleared at any time [bridge] 204 (resource_bridges.c, ast_ari_bridges_clear_video_source)
        DELETE /bridges/{bridge}/videoSource -> 204 empty
    is shown until the bridge is published again [watched] DELETE is not published (bridge.c, ast_bridge_remove_video_src)
        DELETE /bridges/{bridge}/videoSource -> 204
        GET /bridges/{bridge} -> 200 {"video_mode": "single", "video_source_id": "{a}"}
    is still shown when its channel has left [watched] That is published, then forgotten (bridge_channel.c, bridge_channel_internal_join)
        POST /bridges/{bridge}/removeChannel?channel={a} -> 204
        await ChannelLeftBridge {a}
        GET /bridges/{bridge} -> 200 = bridge {"id": "{bridge}", "video_mode": "single", "video_source_id": "{a}"}
    that left is gone when the bridge is published again [watched] The mode stays single (bridge.c, ast_bridge_remove_video_src)
        POST /bridges/{bridge}/removeChannel?channel={a} -> 204
        POST /bridges/{bridge}/addChannel?channel={a} -> 204
        await BridgeVideoSourceChanged {"old_video_source_id": "{a}"} = bridge {"id": "{bridge}", "channels": ["{a}"], "video_mode": "single"}
        never BridgeVideoSourceChanged
    that was cleared is told when a channel leaves [watched] With the old one, before ChannelLeftBridge (stasis_bridges.c)
        DELETE /bridges/{bridge}/videoSource -> 204
        POST /bridges/{bridge}/removeChannel?channel={a} -> 204
        await BridgeVideoSourceChanged {"old_video_source_id": "{a}", "bridge": {"id": "{bridge}", "video_mode": "talker"}}
        {a}: ChannelLeftBridge {bridge} simple_bridge
        GET /bridges/{bridge} -> 200 = bridge {"id": "{bridge}"}
""")
class TestVideoSource:
    """The video source of a bridge, and who is told of it."""


@script("""
    pass from one call to the other [couple] From a near leg to its far leg, the bridge, and the other near leg (bridge_simple.c)
        POST /channels/{near_a}/dtmf?dtmf=2 -> 204
        hasten 0.5 s
        {a}: ChannelDtmfReceived 2
        {near_b}: ChannelDtmfReceived 2
    sent to a channel in it leave it [couple] They come out at that channel's other leg alone (channel.c, ast_senddigit)
        POST /channels/{a}/dtmf?dtmf=3 -> 204
        hasten 0.5 s
        {near_a}: ChannelDtmfReceived 3
        never ChannelDtmfReceived {near_b} {"digit": "3"}
    are absorbed [strangers] With absorbDTMF=true they are not passed on (res_stasis.c; bridge_channel.c)
        POST /bridges/{bridge}/addChannel?channel={a}&absorbDTMF=true -> 204
        POST /bridges/{bridge}/addChannel?channel={b} -> 204
        await ChannelEnteredBridge {b}
        POST /channels/{near_a}/dtmf?dtmf=4 -> 204
        hasten 0.5 s
        await ChannelDtmfReceived {a} {"digit": "4"}
        POST /channels/{near_b}/dtmf?dtmf=5 -> 204
        hasten 0.5 s
        await ChannelDtmfReceived {near_a} {"digit": "5"}
        never ChannelDtmfReceived {"digit": "4"}
""")
class TestDigitsInABridge:
    """Digits between channels in a bridge."""


# --- playbacks ---

scenes("""
    playing [call, long_sound] The far leg is played a sound of three seconds, as $p
        POST /channels/{far}/play/$p?media=sound:{long_sound} -> 201
        await PlaybackStarted $p
    paused [playing] The same, in state paused; Asterisk may have told of it before it can pause it
        eventually POST /playbacks/$p/control?operation=pause -> 204
        eventually GET /playbacks/$p -> 200 {"state": "paused"}
    busy [call] The far leg is played a tone that does not end, as $p
        POST /channels/{far}/play/$p?media=tone:ring -> 201
        await PlaybackStarted $p
""")
USUAL["playback"] = {"language": "en", "state": "queued"}


def play(ari, channel, *media, word="p", **more):
    """POST /channels/ID/play/PLAYBACK: 201; the id of the playback."""
    playback = ari.id(word)
    expect(ari.post("/channels/%s/play/%s" % (channel, playback), json=dict(more, media=list(media))), status=201)
    return playback


@script("""
    on a channel are made for [unanswered] 500, after 404, 409, 412 and 400 (resource_channels.c, ari_channels_handle_play)
        POST /channels/{far}/play/$p %1 -> 500 "Failed to queue media for playback"
        GET /playbacks/$p -> 404 "Playback not found"
        | no medium || an empty medium | ?media= || an empty medium among others | ?media=sound:a,,sound:b
        | an empty JSON list | {"media": []} || an empty JSON text | {"media": ""} || a JSON number | {"media": 5}
    on a channel are made before a look at the media for [unanswered] 400: skipms, then offsetms (resource_channels.c, ari_channels_handle_play)
        POST /channels/{far}/play/$p?%1 -> 400 "%2 cannot be negative"
        GET /playbacks/$p -> 404 "Playback not found"
        | skipms below zero | skipms=-1 | skipms || offsetms below zero | offsetms=-1 | offsetms
        | both below zero | offsetms=-1&skipms=-1 | skipms
    on a bridge are made for [bridge] 500 without a message (resource_bridges.c, ari_bridges_play_new)
        POST /bridges/{bridge}/play %1 -> 500 = {"error": "Allocation failed"}
        | no medium || an empty medium | ?media=sound:a, || skipms below zero | ?media=sound:a&skipms=-1
        | offsetms below zero | ?media=sound:a&offsetms=-1
    are made for an unknown playback that is Operation, then playback (resource_playbacks.c, ast_ari_playbacks_control)
        %1 -> %2
        | shown                                                | GET /playbacks/$p                          | 404 "Playback not found"
        | stopped                                              | DELETE /playbacks/$p                       | 404 "Playback not found"
        | paused                                               | POST /playbacks/$p/control?operation=pause | 404 "Playback not found"
        | controlled without an operation, which is told first | POST /playbacks/$p/control                 | 400 "Missing operation"
        | controlled with an empty operation                   | POST /playbacks/$p/control?operation=      | 400 "Invalid operation "
        | controlled with an unknown operation                 | POST /playbacks/$p/control?operation=stop  | 400 "Invalid operation stop"
        | controlled in capitals                               | POST /playbacks/$p/control?operation=Pause | 400 "Invalid operation Pause"
""")
class TestPlaybackRefusals:
    """Refusals."""


@script("""
    is queued first [call] 201 with the playback and where it is (resource_channels.c, ari_channels_handle_play)
        POST /channels/{far}/play/$p?media=tone:ring -> 201 = playback {"id": "$p", "media_uri": "tone:ring", "target_uri": "channel:{far}"}
        header Location: {root}/playbacks/$p
    is asked for with [call] Path over playbackId; JSON, form or query (resource_channels.c)
        POST /channels/{far}/play%1 -> 201 {"id": "$p", "media_uri": "tone:ring"}
        | an id in the path | /$p?media=tone:ring || an id in the query | ?media=tone:ring&playbackId=$p
        | an id in the path and another in the query | /$p?media=tone:ring&playbackId=q || media in JSON | /$p {"media": ["tone:ring"]}
        | media in a JSON text | /$p {"media": "tone:ring"} || media in a form | /$p form: media=tone:ring
    has an id of its own [call] A UUID without one
        POST /channels/{far}/play?media=tone:ring -> 201 {"id": "<uuid>"}
    has a language [call] That of lang, else the channel's
        POST /channels/{far}/play?media=tone:ring&lang=%1 -> 201 {"language": "%2"}
        | as asked for | fr | fr || of the channel without one |  | en
    starts and finishes [call, sound] PlaybackStarted in state playing, PlaybackFinished in state done
        POST /channels/{far}/play/$p?media=sound:{sound}&offsetms=900 -> 201
        $p: PlaybackStarted sound:{sound} playing; PlaybackFinished sound:{sound} done
        eventually GET /playbacks/$p -> 404 "Playback not found"
    goes on when a digit comes [call] DTMF does not stop it
        POST /channels/{far}/play/$p?media=tone:ring -> 201
        await PlaybackStarted
        POST /channels/{near}/dtmf?dtmf=1 -> 204
        hasten 0.5 s
        await ChannelDtmfReceived {far}
        GET /playbacks/$p -> 200 {"state": "playing"}
    tells of progress on a channel that is not answered [unanswered] It plays in state Ring, without an answer (app_control)
        POST /channels/{far}/play?media=tone:ring -> 201
        await PlaybackStarted
        await Dial {near} {"dialstatus": "PROGRESS"}
        GET /channels/{far} -> 200 {"state": "Ring"}
    fails when its channel is hung up [call, no_sound] State failed, before StasisEnd; what is queued is told of too
        POST /channels/{far}/play/$p?media=tone:ring,{no_sound} -> 201
        POST /channels/{far}/play/$q?media=tone:ring -> 201
        $p: PlaybackStarted tone:ring playing
        DELETE /channels/{far} -> 204
        $p: PlaybackFinished tone:ring failed
        $q: PlaybackStarted tone:ring playing; PlaybackFinished tone:ring failed
    on a channel in a bridge names the channel [alone] The target_uri stays the channel
        POST /channels/{a}/play/$p?media=tone:ring -> 201
        await PlaybackStarted {"playback": {"id": "$p", "target_uri": "channel:{a}"}}
        DELETE /playbacks/$p -> 204 empty
        $p: PlaybackFinished tone:ring done
    on a bridge names the bridge [alone, sound] The target_uri is the bridge (resource_bridges.c, ast_ari_bridges_play)
        POST /bridges/{bridge}/play/$p?media=sound:{sound}&offsetms=900 -> 201
            = playback {"id": "$p", "media_uri": "sound:{sound}", "target_uri": "bridge:{bridge}"}
        header Location: {root}/playbacks/$p
        $p: PlaybackStarted sound:{sound} playing; PlaybackFinished sound:{sound} done
    on a bridge may have its id in the query [bridge] As playbackId (resource_bridges.c, ast_ari_bridges_play)
        POST /bridges/{bridge}/play?media=tone:ring&playbackId=$p -> 201 {"id": "$p"}
        eventually DELETE /playbacks/$p -> 204 empty
    on a bridge ends with it [alone] DELETE of the bridge: the playback disappears (resource_bridges.c, ast_ari_bridges_destroy)
        POST /bridges/{bridge}/play/$p?media=tone:ring -> 201
        DELETE /bridges/{bridge} -> 204
        eventually GET /playbacks/$p -> 404 "Playback not found"
    on a bridge is told twice to who hears of all channels and bridges Through the bridge and through its announcer (stasis/app.c)
        POST /applications/{app}/subscription?eventSource=channel:,bridge: -> 200
        POST /bridges/$b -> 200
        POST /bridges/$b/play/$p?media=sound:no-such-sound -> 201
        await PlaybackStarted $p
        await PlaybackStarted $p
        await PlaybackFinished $p
        await PlaybackFinished $p
    hides a later one of the same id [call] An id may be given twice; it names the oldest that is not over (res_stasis_playback.c)
        POST /channels/{far}/play/$p?media=tone:ring -> 201
        POST /channels/{near}/play/$p?media=tone:busy -> 201
        await PlaybackStarted {"playback": {"id": "$p", "media_uri": "tone:busy"}}
        GET /playbacks/$p -> 200 {"media_uri": "tone:ring"}
        DELETE /playbacks/$p -> 204 empty
        await PlaybackFinished {"playback": {"id": "$p", "media_uri": "tone:ring"}}
        GET /playbacks/$p -> 200 {"media_uri": "tone:busy"}
        DELETE /playbacks/$p -> 204 empty
        eventually GET /playbacks/$p -> 404 "Playback not found"
    has no control characters in its location [departure, call] They are escaped; Asterisk sends them raw
        POST /channels/{far}/play/$p%0A?media=tone:ring -> 201
        header Location: {root}/playbacks/$p%0A
    on an empty bridge plays to nobody [bridge] No events, as nobody is subscribed to the bridge; the time runs (resource_bridges.c; stasis/app.c)
        POST /bridges/{bridge}/play/$p?media=sound:no-such-sound -> 201
        eventually GET /playbacks/$p -> 404 "Playback not found"
        never PlaybackStarted
""")
class TestPlayback:
    """A playback on a channel, and on a bridge (res_stasis_playback.c)."""

    def test_starts_at_its_offset(self, ari, events, call, long_sound):
        """offsetms counts from the beginning of the first medium (main/app.c)."""
        begin = time.monotonic()
        playback = play(ari, call.far, "sound:" + long_sound, offsetms=2900)
        events.expect("PlaybackFinished", playback={"id": playback, "state": "done"})
        if time.monotonic() - begin > 2.5:
            fail(events.request, "the end of a sound of 3 s, 0.1 s after its offset", "%.1f s" % (time.monotonic() - begin))


@script("""
    end by themselves [call, no_sound] Started, then finished: done or failed (play_on_channel)
        POST /channels/{far}/play/$p?media=%1 -> 201
        $p: PlaybackStarted %1 playing; PlaybackFinished %1 %2
        | a sound that is not there | {no_sound} | failed || a sound without a name | sound: | failed
        | a tone that is not there | tone:bogus | failed || a tone without a name | tone: | failed || digits | digits:1 | done
        | characters | characters:a | done
    vanish [call] Started, and no word more: the playback is gone (play_on_channel)
        POST /channels/{far}/play/$p?media=%1 -> 201
        await PlaybackStarted $p
        eventually GET /playbacks/$p -> 404 "Playback not found"
        never PlaybackFinished $p
        | an unknown scheme | bogus:x || no scheme | ref-one || a scheme in capitals | SOUND:ref-one
        | a recording that is not stored | recording:$none || a number that is none | number:abc
    play until they are stopped [call] Tones have no end (indications.c)
        POST /channels/{far}/play/$p {"media": ["%1"]} -> 201
        $p: PlaybackStarted %1 playing
        GET /playbacks/$p -> 200 {"state": "playing"}
        DELETE /playbacks/$p -> 204 empty
        $p: PlaybackFinished %1 done
        | a tone | tone:busy || a tone of a zone | tone:ring;tonezone=us
    of a list follow each other [call, no_sound] PlaybackContinuing between them; the last one decides the end (play_on_channel)
        POST /channels/{far}/play/$p?media=%1,%2 -> 201
        $p: PlaybackStarted %1 playing; PlaybackContinuing %1 continuing
        $p: PlaybackStarted %2 playing; PlaybackFinished %2 %3
        | a good one after a bad one | {no_sound} | digits:1 | done || a bad one after a good one | digits:1 | {no_sound} | failed
    of a list follow each other even when one vanishes [call] It has no PlaybackContinuing (play_on_channel)
        POST /channels/{far}/play/$p?media=bogus:x,digits:1 -> 201
        $p: PlaybackStarted bogus:x playing; PlaybackStarted digits:1 playing; PlaybackFinished digits:1 done
    of a list are shown with the next [call, no_sound] The next_media_uri is there while there is one
        POST /channels/{far}/play/$p?media={no_sound},tone:ring -> 201
        await PlaybackStarted {"playback": {"media_uri": "{no_sound}", "next_media_uri": "tone:ring"}}
        await PlaybackContinuing {"playback": {"media_uri": "{no_sound}", "next_media_uri": "tone:ring"}}
        await PlaybackStarted {"playback": {"media_uri": "tone:ring"}}
        GET /playbacks/$p -> 200 = playback {"id": "$p", "media_uri": "tone:ring", "target_uri": "channel:{far}", "state": "playing"}
    in a query are split at commas [call] A list in the query (resource_channels.c)
        POST /channels/{far}/play?media=tone:ring,tone:busy -> 201 {"media_uri": "tone:ring", "next_media_uri": "tone:busy"}
    may be a recording [call, stored] As recording:NAME; an empty one fails
        POST /channels/{far}/play/$p?media=recording:{stored} -> 201
        $p: PlaybackStarted recording:{stored} playing; PlaybackFinished recording:{stored} failed
""")
class TestMedia:
    """What is played (res_stasis_playback.c)."""


@script("""
    takes, while it plays [playing] 204 (stasis_app_playback_operation)
        POST /playbacks/$p/control?operation=%0 -> 204 empty
        eventually GET /playbacks/$p -> 200 {"state": "%1"}
        | restart | playing || pause | paused || unpause | playing || reverse | playing || forward | playing
    takes, while it is paused [paused] 204 (stasis_app_playback_operation)
        POST /playbacks/$p/control?operation=%0 -> 204 empty
        eventually GET /playbacks/$p -> 200 {"state": "%1"}
        | pause | paused || unpause | playing
    refuses, while it is paused [paused] 409 in the wrong state (stasis_app_playback_operation)
        POST /playbacks/$p/control?operation=%0 -> 409 "Can only %0 while media is playing"
        | restart || reverse || forward
    takes restart while it is queued [playing] 204 (stasis_app_playback_operation)
        POST /channels/{far}/play/$q?media=tone:ring -> 201
        POST /playbacks/$q/control?operation=restart -> 204 empty
        GET /playbacks/$q -> 200 {"state": "queued"}
    refuses, while it is queued [playing] 409 in the wrong state (stasis_app_playback_operation)
        POST /channels/{far}/play/$q?media=tone:ring -> 201
        POST /playbacks/$q/control?operation=%0 -> 409 "Can only %0 while media is playing"
        | pause || unpause || reverse || forward
    refuses, when it is done [playing] 409 in the wrong state (stasis_app_playback_operation)
        POST /channels/{far}/play/$q?media=tone:ring -> 201
        DELETE /playbacks/$q -> 204 empty
        POST /playbacks/$q/control?operation=%0 -> 409 "Can only %0 while media is playing"
        | restart || pause || unpause || reverse || forward
    stops one that is [playing, long_sound] DELETE: PlaybackFinished in state done (playback_stop)
        %1
        %2
        DELETE /playbacks/$p -> 204 empty
        $p: PlaybackFinished sound:{long_sound} done
        eventually GET /playbacks/$p -> 404 "Playback not found"
        | playing || paused | POST /playbacks/$p/control?operation=pause -> 204 | eventually GET /playbacks/$p -> 200 {"state": "paused"}
    stops one that is queued [playing] It is done at once, told of in its turn, and never starts
        POST /channels/{far}/play/$q?media=tone:ring -> 201
        DELETE /playbacks/$q -> 204 empty
        GET /playbacks/$q -> 200 {"state": "done"}
        DELETE /playbacks/$p -> 204 empty
        $q: PlaybackFinished tone:ring done
    stops the rest of a list [call, long_sound, no_sound] The end shows the medium and the next one, which is not played
        POST /channels/{far}/play/$p?media=sound:{long_sound},{no_sound} -> 201
        await PlaybackStarted
        DELETE /playbacks/$p -> 204 empty
        await PlaybackFinished {"playback": {"id": "$p", "media_uri": "sound:{long_sound}", "next_media_uri": "{no_sound}", "state": "done"}}
        never PlaybackStarted $p
    does not stop the rest of a list at a tone [call, no_sound] A tone that is stopped counts as played (main/app.c, ast_control_tone)
        POST /channels/{far}/play/$p?media=tone:ring,{no_sound} -> 201
        await PlaybackStarted
        DELETE /playbacks/$p -> 204 empty
        $p: PlaybackContinuing tone:ring continuing; PlaybackStarted {no_sound} playing; PlaybackFinished {no_sound} failed
    pauses without a word and goes on with one [playing, long_sound] Only unpause of a paused one is told of, as PlaybackStarted
        POST /playbacks/$p/control?operation=unpause -> 204
        POST /playbacks/$p/control?operation=pause -> 204
        POST /playbacks/$p/control?operation=pause -> 204
        POST /playbacks/$p/control?operation=unpause -> 204
        $p: PlaybackStarted sound:{long_sound} playing
        never PlaybackStarted $p
    is asked for by [playing] JSON, form or query (res_ari_playbacks.c)
        POST /playbacks/$p/control %1 -> 204
        | a query | ?operation=pause || JSON | {"operation": "pause"} || a form | form: operation=pause
    does not skip over the end [call, long_sound] It is set back by skipms, so forward never ends a playback (main/app.c)
        POST /channels/{far}/play/$p?media=sound:{long_sound}&skipms=3000 -> 201
        await PlaybackStarted $p
        POST /playbacks/$p/control?operation=forward -> 204
        never PlaybackFinished $p
        GET /playbacks/$p -> 200 {"state": "playing"}
""")
class TestPlaybackControl:
    """Operations on a playback (res_stasis_playback.c)."""

    def test_skips_forward(self, ari, events, call, long_sound):
        """forward adds skipms (main/app.c, ast_control_streamfile)."""
        begin = time.monotonic()
        playback = play(ari, call.far, "sound:" + long_sound, skipms=2800)
        events.expect("PlaybackStarted")
        expect(ari.post("/playbacks/%s/control" % playback, {"operation": "forward"}), status=204)
        events.expect("PlaybackFinished", playback={"id": playback, "state": "done"})
        if time.monotonic() - begin > 2.5:
            fail(events.request, "the end of a sound of 3 s, 0.2 s after a skip of 2.8", "%.1f s" % (time.monotonic() - begin))


@script("""
    lets playbacks begin one after the other [busy, no_sound] Playbacks of a channel wait for each other (stasis_app_exec; control.c)
        POST /channels/{far}/play/$q?media={no_sound} -> 201
        GET /playbacks/$q -> 200 {"state": "queued"}
        DELETE /playbacks/$p -> 204 empty
        {far}: PlaybackFinished tone:ring done; PlaybackStarted {no_sound} playing; PlaybackFinished {no_sound} failed
    of a bridge lets playbacks begin one after the other [alone, no_sound] One announcer with a queue of its own (resource_bridges.c)
        POST /bridges/{bridge}/play/$p?media=tone:ring -> 201
        POST /bridges/{bridge}/play/$q?media={no_sound} -> 201
        $p: PlaybackStarted tone:ring playing
        DELETE /playbacks/$p -> 204 empty
        $p: PlaybackFinished tone:ring done
        $q: PlaybackStarted {no_sound} playing; PlaybackFinished {no_sound} failed
    of each leg is its own [busy] Each channel has its own (control.c)
        POST /channels/{near}/play/$q?media=tone:ring -> 201
        await PlaybackStarted $q
        GET /playbacks/$p -> 200 {"state": "playing"}
    holds a variable back [busy] 204 at once, and set when the playback is over (control.c)
        POST /channels/{far}/variable?variable=Q&value=v -> 204
        GET /channels/{far}/variable?variable=Q -> 404 Variable Not Found "Provided variable was not found"
        DELETE /playbacks/$p -> 204 empty
        {far}: PlaybackFinished tone:ring done; ChannelVarset Q=v
    does not hold a bridge back [departure, busy, bridge] In Asterisk the bridge waits for the playback
        POST /bridges/{bridge}/addChannel?channel={far} -> 204
        await ChannelEnteredBridge {far}
    with nothing in it lets a command take effect before its reply [departure, call] Asterisk takes up to 200 ms
        POST /channels/{far}/variable?variable=Q&value=v -> 204
        GET /channels/{far}/variable?variable=Q -> 200 = {"value": "v"}
    does not hold a hangup back [busy] DELETE of the channel does not wait (resource_channels.c, ast_ari_channels_hangup)
        DELETE /channels/{far} -> 204
        await ChannelDestroyed {far}
    is worked off before the channel enters the dialplan by [dialplan, busy, no_sound] All that is queued is done first (stasis_app_exec)
        POST /channels/{far}/%1 -> 204
        %2
        POST /channels/{far}/play/$q?media={no_sound} -> 201
        POST /channels/{far}/variable?variable=Q&value=v -> 204
        DELETE /playbacks/$p -> 204 empty
        {far}: PlaybackFinished tone:ring done; PlaybackStarted {no_sound} playing; PlaybackFinished {no_sound} failed; ChannelVarset Q=v
        {far}: StasisEnd @ default,answer,0 Stasis({app}); ChannelVarset STASISSTATUS=SUCCESS; ChannelDialplan Answer()
        | continue | continue?context=default&extension=answer
        | the last of two continues | continue?context=default&extension=app | POST /channels/{far}/continue?context=default&extension=answer -> 204
        | continue rather than a move before it | move?app={app} | POST /channels/{far}/continue?context=default&extension=answer -> 204
        | continue rather than a move behind it | continue?context=default&extension=answer | POST /channels/{far}/move?app={app} -> 204
    is worked off before the channel enters an application by [dialplan, busy, no_sound] All that is queued is done first (stasis_app_exec)
        %1
        POST /channels/{far}/move?app={app}&appArgs=x -> 204
        POST /channels/{far}/play/$q?media={no_sound} -> 201
        POST /channels/{far}/variable?variable=Q&value=v -> 204
        DELETE /playbacks/$p -> 204 empty
        {far}: PlaybackFinished tone:ring done; PlaybackStarted {no_sound} playing; PlaybackFinished {no_sound} failed; ChannelVarset Q=v
        {far}: StasisEnd @ {context},100,1 Stasis({app}); StasisStart x
        | move || the last of two moves | POST /channels/{far}/move?app=none -> 204
    is done to its end when the channel hangs up [busy] Media fail, but a variable is set; then StasisEnd (stasis_app_exec)
        POST /channels/{far}/variable?variable=Q&value=v -> 204
        POST /channels/{far}/play/$q?media=tone:ring -> 201
        POST /channels/{far}/continue?context=default&extension=answer -> 204
        DELETE /channels/{far} -> 204
        {far}: ChannelHangupRequest 32 soft; PlaybackFinished tone:ring failed; ChannelVarset Q=v
        {far}: PlaybackStarted tone:ring playing; PlaybackFinished tone:ring failed
        {far}: StasisEnd @ default,answer,0 Stasis({app}); ChannelVarset STASISSTATUS=SUCCESS
        {far}: ChannelHangupRequest 16 soft @ default,answer,0 (); ChannelDestroyed 16
    does nothing to a channel that has left [dialplan, busy] Other calls are served, and their timers run (stasis_app_exec)
        POST /channels/{far}/continue?context=default&extension=answer -> 204
        POST /channels/{far}/move?app={app} -> 204
        DELETE /playbacks/$p -> 204 empty
        await ChannelDialplan {far} {"dialplan_app": "Wait"}
        never StasisStart {far}
        POST /channels?endpoint=Local/100@{context}&app={app}&channelId=$other&timeout=1 -> 200
        hasten 1 s
        await ChannelDestroyed $other
""")
class TestCommandQueue:
    """What a channel is told to do waits in a queue (res_stasis.c)."""


# --- recordings: live ---

NO_RECORDING = {"status": 404, "json": message("Recording not found")}
NO_SESSION = {"status": 409, "json": message("Recording not in session")}
EMPTY_WAV = bytes.fromhex("524946462400000057415645666d74201000000001000100401f0000803e0000020010006461746100000000")


def record(ari, target, word="r", **params):
    """POST .../record in format wav: 201; the name of the recording."""
    name = ari.id(word)
    expect(ari.post(target + "/record", dict({"name": name, "format": "wav"}, **params)), status=201)
    return name


scenes("""
    live [call] A recording of the far leg, in state recording
        POST /channels/{far}/record?name=$r&format=wav -> 201
        live = $r
        await RecordingStarted {live}
    queued [busy] A recording of the far leg that waits behind a playback
        POST /channels/{far}/record?name=$r&format=wav -> 201
        queued = $r
    stored [live] A stored recording: an empty wav
        POST /recordings/live/{live}/stop -> 204
        await RecordingFinished {live}
        eventually GET /recordings/live/{live} -> 404 "Recording not found"
        stored = {live}
""")
live, queued, stored = (scene(name, name) for name in ("live", "queued", "stored"))


@script("""
    on a channel are made for [unanswered] In this order (resource_channels.c, ast_ari_channels_record)
        POST /channels/%1/record?%2 -> %3
        | maxDurationSeconds below zero, before an unknown channel | none | maxDurationSeconds=-1&maxSilenceSeconds=-1 | 400 "max_duration_seconds cannot be negative"
        | maxSilenceSeconds below zero, before an unknown channel | none | maxSilenceSeconds=-1 | 400 "max_silence_seconds cannot be negative"
        | an unknown channel, before terminateOn              | none   | terminateOn=x                | 404 "Channel not found"
        | a channel in no application, before terminateOn     | {near} | terminateOn=x                | 409 "Channel not in Stasis application"
        | terminateOn, before ifExists                        | {far}  | terminateOn=5&ifExists=maybe | 400 "terminateOn invalid"
        | ifExists, before the format                         | {far}  | ifExists=maybe&format=bogus  | 400 "ifExists invalid"
        | an unknown format, before the name                  | {far}  | format=bogus                 | 422 "specified format is unknown on this system"
        | a format in another case                            | {far}  | format=Wav&name=$r           | 422 "specified format is unknown on this system"
        | an empty format                                     | {far}  | format=&name=$r              | 422 "specified format is unknown on this system"
        | no format                                           | {far}  | name=$r                      | 422 "specified format is unknown on this system"
        | no name                                             | {far}  | format=wav                   | 500 "Error parsing request"
        | an empty name                                       | {far}  | format=wav&name=             | 500 "Error parsing request"
        | a name outside the folder                           | {far}  | format=wav&name=../$r        | 500 "Error parsing request"
    on a bridge are made for [bridge] In this order (resource_bridges.c, ast_ari_bridges_record)
        POST /bridges/{bridge}/record?%1 -> %2
        | terminateOn, before ifExists              | terminateOn=5&ifExists=maybe       | 400 "terminateOn invalid"
        | ifExists, before the format               | ifExists=maybe&format=bogus        | 400 "ifExists invalid"
        | an unknown format, before the numbers     | format=bogus&maxDurationSeconds=-1 | 422 "specified format is unknown on this system"
        | no name                                   | format=wav                         | 500 "Error parsing request"
        | a name outside the folder                 | format=wav&name=../$r              | 500 "Error parsing request"
    are made for a name that is being recorded [live] 409 whatever ifExists says (stasis_app_control_record)
        POST /channels/{near}/record?name={live}&format=wav&ifExists=%0 -> 409 "Recording '{live}' already exists and can not be overwritten"
        | fail || overwrite || append
    are made for a name that is stored [stored] 409 (stasis_app_control_record)
        POST /channels/{far}/record?name={stored}&format=%1 -> 409 "Recording '{stored}' already exists and can not be overwritten"
        | by default | wav || with fail | wav&ifExists=fail || in another format | gsm
    are made for an unknown recording that is 404 (resource_recordings.c)
        %1 /recordings/live/$none%2 -> 404 "Recording not found"
        | shown | GET || cancelled | DELETE || stopped | POST | /stop || paused | POST | /pause || unpaused | DELETE | /pause
        | muted | POST | /mute || unmuted | DELETE | /mute
""")
class TestRecordingRefusals:
    """Refusals (res_stasis_recording.c)."""


@script("""
    is queued first [call] 201 with the recording and where it is (resource_channels.c, ast_ari_channels_record)
        POST /channels/{far}/record?name=$r&format=wav -> 201 = {"name": "$r", "format": "wav", "state": "queued", "target_uri": "channel:{far}"}
        header Location: {root}/recordings/live/$r
    is asked for with [call] JSON over query over form (res_ari_channels.c)
        POST /channels/{far}/record%1 %2 -> 201 {"name": "$r", "format": "wav"}
        | JSON | | {"name": "$r", "format": "wav", "maxDurationSeconds": 5, "beep": false} || a form | | form: name=$r&format=wav
        | JSON over a query | ?format=x | {"name": "$r", "format": "wav"}
    takes [call] Words without regard to case, and empty ones (resource_channels.c)
        POST /channels/{far}/record?name=$r&format=wav&%1 -> 201
        | terminateOn in any case | terminateOn=ANY || ifExists in any case | ifExists=OverWrite || an empty terminateOn | terminateOn=
        | an empty ifExists | ifExists=
    has format [call] Those of Asterisk's file modules, under the suffix of the file (main/file.c, ast_format_str_reduce)
        POST /channels/{far}/record?name=$r&format=%0 -> 201
        await RecordingStarted {"recording": {"name": "$r", "format": "%0"}}
        GET /recordings/stored/$r -> 200 = {"name": "$r", "format": "%0"}
        | wav || wav16 || WAV || sln || raw || sln12 || sln16 || sln24 || sln32 || sln44 || sln48 || sln96 || sln192 || ulaw || ul || mu || ulw || pcm || au
        | alaw || al || alw || gsm || g722
    has a format of an own module [call, formats] What else an Asterisk may have (main/file.c, ast_format_str_reduce)
        POST /channels/{far}/record?name=$r&format=%0 -> 201
        await RecordingStarted {"recording": {"name": "$r", "format": "%0"}}
        GET /recordings/stored/$r -> 200 = {"name": "$r", "format": "%0"}
        | g719 || g723 || g723sf || g729 || ilbc || siren7 || siren14 || vox || g726-16 || g726-24 || g726-32 || g726-40
        | h263 || h264
    of format wav49 is stored as WAV [call] The suffix of the file counts (main/file.c, build_filename)
        POST /channels/{far}/record?name=$r&format=wav49 -> 201
        await RecordingStarted {"recording": {"name": "$r", "format": "wav49"}}
        GET /recordings/stored/$r -> 200 = {"name": "$r", "format": "WAV"}
    may have a name with [call] Location is escaped; a leading slash is not stored (resource_channels.c)
        POST /channels/{far}/record {"name": "%1", "format": "wav"} -> 201 {"name": "%1"}
        header Location: {root}/recordings/live/%2
        await RecordingStarted %1
        GET /recordings/live/%2 -> 200
        GET /recordings/stored/%3 -> 200 {"name": "%4"}
        | slashes | $r/a/b | $r%2Fa%2Fb | $r%2Fa%2Fb | $r/a/b || a slash before | /$r | %2F$r | $r | $r || a dot | $r.wav | $r.wav | $r.wav | $r.wav
    may have a name with other characters [call] Location is escaped (resource_channels.c)
        POST /channels/{far}/record {"name": "$r \u00e9+(!)", "format": "wav"} -> 201 {"name": "$r \u00e9+(!)"}
        header Location: {root}/recordings/live/$r%20%C3%A9%2B(!)
        await RecordingStarted {"recording": {"name": "$r \u00e9+(!)"}}
        GET /recordings/live/$r%20%C3%A9%2B(!) -> 200
        GET /recordings/stored/$r%20%C3%A9%2B(!) -> 200 {"name": "$r \u00e9+(!)"}
    is started and finished [live] RecordingFinished in state done with the whole seconds that were heard
        GET /recordings/live/{live} -> 200 = {"name": "{live}", "format": "wav", "state": "recording", "target_uri": "channel:{far}"}
        POST /recordings/live/{live}/stop -> 204 empty
        await RecordingFinished {"recording": {"name": "{live}", "format": "wav", "state": "done", "duration": 0, "target_uri": "channel:{far}"}}
        eventually GET /recordings/live/{live} -> 404 "Recording not found"
    is stored from its start [live] The file is there while it is being written
        GET /recordings/stored/{live} -> 200 = {"name": "{live}", "format": "wav"}
    leaves nothing when it is cancelled [live] DELETE: RecordingFinished, also in state done, and no file
        DELETE /recordings/live/{live} -> 204 empty
        await RecordingFinished {"recording": {"name": "{live}", "state": "done"}}
        eventually GET /recordings/stored/{live} -> 404 "Recording not found"
    answers its channel [unanswered] A channel in Ring is answered first (record_file)
        POST /channels/{far}/record?name=$r&format=wav -> 201
        {far}: ChannelStateChange Up; RecordingStarted recording
        await StasisStart {near}
    may be of a channel that is down [created] No 412 here (resource_channels.c, ast_ari_channels_record)
        POST /channels/{near}/record?name=$r&format=wav -> 201
    ends with its channel [live] RecordingFinished before StasisEnd, and it is stored
        DELETE /channels/{far} -> 204
        {far}: ChannelHangupRequest 32 soft; RecordingFinished done; StasisEnd
        GET /recordings/stored/{live} -> 200
    is ended by [call] ChannelDtmfReceived comes first (main/app.c)
        POST /channels/{far}/record?name=$r&format=wav&terminateOn=%2 -> 201
        await RecordingStarted
        POST /channels/{near}/dtmf?dtmf=%1 -> 204
        hasten 0.5 s
        {far}: ChannelDtmfReceived %3; RecordingFinished done
        | any digit | 5 | any | 5 || any, with a star | * | any | * || any, with a letter | d | any | d || a hash | %23 | %23 | # || a star | * | * | *
    is not ended by [call] By terminateOn alone (main/app.c)
        POST /channels/{far}/record?name=$r&format=wav&terminateOn=%2 -> 201
        await RecordingStarted
        POST /channels/{near}/dtmf?dtmf=%1 -> 204
        hasten 0.5 s
        await ChannelDtmfReceived {far}
        GET /recordings/live/$r -> 200 {"state": "recording"}
        | another digit | 5 | %23 || a digit when none counts | %23 | none || a capital when any counts | D | any
    may have a stored name with [stored] 201
        POST /channels/{far}/record?name={stored}&format=wav&ifExists=%0 -> 201
        await RecordingStarted {stored}
        | overwrite || append
    waits for a playback [queued] The channel's queue (control.c)
        GET /recordings/live/{queued} -> 200 {"state": "queued"}
        DELETE /playbacks/$p -> 204 empty
        {far}: PlaybackFinished tone:ring done; RecordingStarted recording
    fails in a bridge [alone] RecordingFailed with its cause, in its turn; nothing is stored (res_stasis.c, app_control_add_rule)
        POST /channels/{a}/record?name=$r&format=wav -> 201
        await RecordingFailed {"recording": {"name": "$r", "format": "wav", "state": "failed", "target_uri": "<text>",
            "cause": "Cannot record channel while in bridge"}}
        eventually GET /recordings/live/$r -> 404 "Recording not found"
        GET /recordings/stored/$r -> 404 "Recording not found"
    of a bridge is started and finished [alone] With the bridge as target_uri (resource_bridges.c, ast_ari_bridges_record)
        POST /bridges/{bridge}/record?name=$r&format=wav -> 201
            = {"name": "$r", "format": "wav", "state": "queued", "target_uri": "bridge:{bridge}"}
        header Location: {root}/recordings/live/$r
        await RecordingStarted $r
        POST /recordings/live/$r/stop -> 204
        await RecordingFinished {"recording": {"name": "$r", "state": "done", "target_uri": "bridge:{bridge}"}}
    of a bridge may be one of several [alone] Each has its own recorder (resource_bridges.c)
        POST /bridges/{bridge}/record?name=$one&format=wav -> 201
        POST /bridges/{bridge}/record?name=$two&format=wav -> 201
        await RecordingStarted $one
        await RecordingStarted $two
    fails when the channel ends by being answered [context] The near leg finds nobody in its application (stasis_app_record_file)
        POST /channels?endpoint=Local/100@{context}&app=$none&channelId=$near&otherChannelId=$far -> 200
        eventually GET /channels/$far -> 200 {"dialplan": {"app_name": "Stasis"}}
        POST /applications/{app}/subscription?eventSource=channel:$far -> 200
        POST /channels/$far/record?name=$r&format=wav -> 201
        await RecordingFailed {"recording": {"name": "$r", "cause": "Failed to answer channel"}}
        await ChannelDestroyed $far
        never RecordingStarted
        eventually GET /recordings/live/$r -> 404 "Recording not found"
""")
class TestRecording:
    """A live recording (res_stasis_recording.c)."""


scenes("""
    heard [call] The near leg sends silence, so that the far one hears something
        POST /channels/{near}/silence -> 204
""")


@script("""
    has a maximum [heard] By maxDurationSeconds=1 it ends by itself with duration 1
        POST /channels/{far}/record?name=$r&format=wav&maxDurationSeconds=1 -> 201
        hasten 2 s
        await RecordingFinished {"recording": {"name": "$r", "state": "done", "duration": 1}}
    leaves nothing that was deleted before [live] The file of a recording under way can be deleted; it ends all the same (recording_cancel)
        DELETE /recordings/stored/{live} -> 204
        %1 -> %2
        await RecordingFinished {"recording": {"name": "{live}", "state": "done"}}
        GET /recordings/stored/{live} -> 404
        | it is stopped | POST /recordings/live/{live}/stop | 204
        | it is cancelled | DELETE /recordings/live/{live} | 500 "Recording operation failed"
    ends with silence [heard] At maxSilenceSeconds, and tells talking and silence
        POST /channels/{far}/record?name=$r&format=wav&maxSilenceSeconds=%1 -> 201
        hasten %1 s
        await RecordingFinished {"recording": {"name": "$r", "duration": 1, "talking_duration": 1, "silence_duration": 0}}
        | one second of it | 1 || two seconds of it, of which one is taken off | 2
    is told in three parts when silence counts [call] All zero when nothing was heard
        POST /channels/{far}/record?name=$r&format=wav&maxSilenceSeconds=2 -> 201
        await RecordingStarted
        POST /recordings/live/$r/stop -> 204
        await RecordingFinished {"recording": {"name": "$r", "duration": 0, "talking_duration": 0, "silence_duration": 0}}
""")
class TestDurationOfARecording:
    """How long a recording lasts (res_stasis_recording.c; main/app.c)."""


# What each operation does to a recording in each state: what GET says after it, or its refusal.
LIVE_OPERATIONS = collections.OrderedDict((
    ("stop", ("POST", "/stop")), ("cancel", ("DELETE", "")), ("pause", ("POST", "/pause")),
    ("unpause", ("DELETE", "/pause")),
    ("mute", ("POST", "/mute")), ("unmute", ("DELETE", "/mute"))))
LIVE_STATES = {
    # state        stop        cancel      pause     unpause      mute         unmute
    "queued":    ("canceled", "canceled", 409,      409,         409,         409),
    "canceled":  (409,        409,        409,      409,         409,         409),
    "recording": (404,        404,        "paused", "recording", "recording", "recording"),
    "paused":    (404,        404,        "paused", "recording", "paused",    "paused"),
}


@script("""
    that was canceled in the queue runs all the same [queued] In its turn it is started
        DELETE /recordings/live/{queued} -> 204
        DELETE /playbacks/$p -> 204 empty
        await RecordingStarted {"recording": {"name": "{queued}", "state": "recording"}}
""")
class TestLiveRecording:
    """Operations on a live recording (resource_recordings.c, res_stasis_recording.c)."""

    @pytest.mark.parametrize("state, operation, outcome", [
        pytest.param(state, operation, outcome, id="%s, one that is %s" % (operation, state))
        for state, outcomes in LIVE_STATES.items() for operation, outcome in zip(LIVE_OPERATIONS, outcomes)])
    def test_can(self, request, ari, state, operation, outcome):
        """204 or 409; nothing is told of but the end (resource_recordings.c; res_stasis_recording.c)."""
        name = request.getfixturevalue("queued" if state in ("queued", "canceled") else "live")
        if state == "canceled":
            expect(ari.delete("/recordings/live/" + name), status=204)
        if state == "paused":
            expect(ari.post("/recordings/live/%s/pause" % name), status=204)
        method, path = LIVE_OPERATIONS[operation]
        reply = ari.request(method, "/recordings/live/" + name + path)
        if outcome == 409:
            expect(reply, **NO_SESSION)
            return
        expect(reply, status=204, body=b"")
        if outcome == 404:
            ari.eventually("/recordings/live/" + name, **NO_RECORDING)
        else:
            expect(ari.get("/recordings/live/" + name), status=200, has={"state": outcome})



# --- recordings: stored ---

@script("""
    is shown [stored] Name and format (stasis_app_stored_recording_to_json)
        GET /recordings/stored/{stored} -> 200 = {"name": "{stored}", "format": "wav"}
    is deleted [stored] 204, and it is gone (ast_ari_recordings_delete_stored)
        DELETE /recordings/stored/{stored} -> 204 empty
        GET /recordings/stored/{stored} -> 404 "Recording not found"
    is copied by [stored] 200 with the new one, and no Location (ast_ari_recordings_copy_stored)
        POST /recordings/stored/{stored}/copy %1 -> 200 = {"name": "$copy", "format": "wav"}
        header Location:
        GET /recordings/stored/$copy -> 200
        | a query | ?destinationRecordingName=$copy || JSON | {"destinationRecordingName": "$copy"} || a form | form: destinationRecordingName=$copy
    is copied to a name with [stored] Format and suffix stay those of the source; a name that differs in a suffix is not seen to be taken
        POST /recordings/stored/{stored}/copy?destinationRecordingName=%1 -> 200 = {"name": "%2", "format": "wav"}
        | a suffix, which is dropped | $copy.gsm | $copy || a new folder | $copy/a | $copy/a || its own name and a suffix | {stored}.gsm | {stored}
    can not be copied [stored] 400, 409, 403 (ast_ari_recordings_copy_stored)
        POST /recordings/stored/{stored}/copy%1 -> %2
        | without a destination | | 400 Bad request "Invalid destination recording name"
        | to its own name | ?destinationRecordingName={stored} | 409 "A recording with the same name already exists on the system"
        | to a name outside the folder | ?destinationRecordingName=../$r | 403 "Destination file path is forbidden"
    is not found to be 404
        %1 /recordings/stored/%3$none%2 -> 404 "Recording not found"
        | shown | GET || deleted | DELETE || fetched | GET | /file || copied | POST | /copy?destinationRecordingName=x
        | copied without a destination | POST | /copy
        x
        | unknown || outside the folder | ..%2F
    is not found by its name and [stored] The whole name without the suffix of the file
        GET /recordings/stored/{stored}%1 -> 404 "Recording not found"
        | its suffix | .wav || a part of it | -
""")
class TestStoredRecording:
    """A stored recording (resource_recordings.c, res_stasis_recording/stored.c)."""

    def test_is_listed_by_name(self, ari, stored):
        """GET /recordings/stored is sorted by byte value."""
        for word in ("b", "a", "B"):
            expect(ari.post("/recordings/stored/%s/copy" % stored, {"destinationRecordingName": ari.id(word)}), status=200)
        reply = expect(ari.get("/recordings/stored"), status=200)
        mine = [one["name"] for one in reply.json if one["name"].startswith(ari.prefix)]
        if mine != sorted(ari.id(word) for word in ("B", "a", "b", "r")):
            fail(reply.request, "B, a, b, r", ", ".join(mine))

    def test_has_a_file(self, ari, stored):
        """The bytes and their type; Content-Type has a capital here (ast_ari_recordings_get_stored_file)."""
        reply = expect(ari.get("/recordings/stored/%s/file" % stored), status=200, body=EMPTY_WAV,
                       headers={"Content-Type": "audio/wav", "Content-Length": "44"})
        if EXACT and [name for name, _ in reply.headers if name.lower() == "content-type"] != ["Content-Type"]:
            fail(reply.request, "one field Content-Type", shown(reply.headers))

    def test_has_a_file_while_it_is_recorded(self, ari, live):
        """The size in the head of a wav is filled in at the end (format_wav.c)."""
        expect(ari.get("/recordings/stored/%s/file" % live), status=200, body=EMPTY_WAV[:4] + bytes(4) + EMPTY_WAV[8:])

    def test_of_another_format_has_a_file_of_that_type(self, ari, events, call):
        """audio/ and the suffix; an empty sln has no bytes."""
        expect(ari.post("/channels/%s/record" % call.far, {"name": ari.id("r"), "format": "sln"}), status=201)
        events.expect("RecordingStarted")
        expect(ari.get("/recordings/stored/%s/file" % ari.id("r")), status=200, body=b"", headers={"Content-Type": "audio/sln"})


# --- text that is kept and is not UTF-8 ---

@script("""
    is refused as [departure, stored] What is kept or told must be UTF-8: else 400, after the other checks; Asterisk breaks replies with it
        %1 -> 400 "Invalid UTF-8"
        | the value of a variable | POST /channels/{far}/variable?variable=X&value=%FF
        | the name of a variable | POST /channels/{far}/variable?variable=%FF&value=x
        | the arguments of an originated channel | POST /channels?endpoint=Local/1@{context}&app={app}&appArgs=%FF
        | a caller id | POST /channels?endpoint=Local/1@{context}&app={app}&callerId=%FF
        | the arguments of a created channel | POST /channels/create?endpoint=Local/1@{context}&app={app}&appArgs=%FF
        | the arguments of a move | POST /channels/{far}/move?app={app}&appArgs=%FF
        | the arguments of a Snoop channel | POST /channels/{far}/snoop?spy=in&app={app}&appArgs=%FF
        | a medium | POST /channels/{far}/play?media=sound:%FF || the id of a playback | POST /channels/{far}/play/%FF?media=sound:x
        | the name of a recording | POST /channels/{far}/record?name=%FF&format=wav
        | the name of a copy | POST /recordings/stored/{stored}/copy?destinationRecordingName=%FF
        | the name of a mailbox | PUT /mailboxes/{stored}%FF
        | the host of external media | POST /channels/externalMedia?app={app}&external_host=%FF:1&format=ulaw
""")
class TestKeptTextThatIsNotUtf8:
    """A departure."""


# --- device states ---

scenes("""
    watched_device A device in state BUSY, to which the application is subscribed
        PUT /deviceStates/Stasis:$d?deviceState=BUSY -> 204
        POST /applications/{app}/subscription?eventSource=deviceState:Stasis:$d -> 200
""")


@script("""
    may be Eight of the nine states can be set (stasis_app_device_state_update)
        PUT /deviceStates/Stasis:$d?deviceState=%0 -> 204 empty
        GET /deviceStates/Stasis:$d -> 200 = {"name": "Stasis:$d", "state": "%0"}
        | NOT_INUSE || INUSE || BUSY || INVALID || UNAVAILABLE || RINGING || RINGINUSE || ONHOLD
    is set by JSON over query over form; the name of a state in any case (res_ari_device_states.c)
        PUT /deviceStates/Stasis:$d%2 %1 -> 204
        GET /deviceStates/Stasis:$d -> 200 = {"name": "Stasis:$d", "state": "BUSY"}
        | a query | ?deviceState=BUSY || JSON | {"deviceState": "BUSY"} || a form | form: deviceState=BUSY || small letters | ?deviceState=busy
        | JSON over a query | {"deviceState": "BUSY"} | ?deviceState=INUSE
    may have a name with The decoded segment (res_ari.c)
        PUT /deviceStates/Stasis:$d%1?deviceState=BUSY -> 204
        GET /deviceStates/Stasis:$d%1 -> 200 = {"name": "Stasis:$d%2", "state": "BUSY"}
        | a blank | %20x | \\u0020x || UTF-8 | %C3%A9 | \u00e9
    can not be 409, 404, 500 (resource_device_states.c)
        %1 /deviceStates/%2 -> %3
        | set where nobody controls it, before a bad state | PUT | lamp?deviceState=nonsense | 409 "Uncontrolled device specified"
        | set on a real technology | PUT | Local%2Flamp?deviceState=BUSY | 409 "Uncontrolled device specified"
        | set on a mailbox | PUT | MWI:x?deviceState=BUSY | 409 "Uncontrolled device specified"
        | set without a name, before a missing state | PUT | Stasis: | 404 "Device name is missing"
        | set without a state | PUT | Stasis:$d | 500 "Unknown device" || set to nothing | PUT | Stasis:$d?deviceState= | 500 "Unknown device"
        | set to UNKNOWN | PUT | Stasis:$d?deviceState=UNKNOWN | 500 "Unknown device"
        | set to a word that is no state | PUT | Stasis:$d?deviceState=OFF | 500 "Unknown device"
        | set to a number | PUT | Stasis:$d?deviceState=1 | 500 "Unknown device"
        | set to a state with a blank | PUT | Stasis:$d?deviceState=%20BUSY | 500 "Unknown device"
        | deleted where nobody controls it | DELETE | lamp | 409 "Uncontrolled device specified"
        | deleted without a name | DELETE | Stasis: | 404 "Device name is missing"
    in json can not be A value that is no text is as none (res_ari_device_states.c)
        PUT /deviceStates/Stasis:$d {"deviceState": %1} -> 500 "Unknown device"
        | a number | 7 || null | null || a list | ["BUSY"]
    is shown for any name GET never fails, and gives the name back (devicestate.c)
        GET /deviceStates/%1 -> 200 = {"name": "%2", "state": "%3"}
        | one that was never set | Stasis:$d | Stasis:$d | UNKNOWN || one without a name | Stasis: | Stasis: | UNKNOWN
        | one for the dialplan | Custom:$d | Custom:$d | UNKNOWN || a word | $d | $d | INVALID || a blank | %20 | \\u0020 | INVALID
        | a technology that is not there | nope%2F$d | nope/$d | INVALID || a mailbox that is not there | MWI:$d | MWI:$d | INVALID
        | a Local device without a context | Local%2F100 | Local/100 | INVALID
        | a Local device of an unknown context | Local%2F100@none-$d | Local/100@none-$d | INVALID
    of a local device follows its channels [context] NOT_INUSE when the extension exists, INUSE while it is called (core_local.c, local_devicestate)
        eventually GET /deviceStates/Local%2F100@{context} -> 200 {"state": "NOT_INUSE"}
        do pair near far
        eventually GET /deviceStates/Local%2F100@{context} -> 200 {"state": "INUSE"}
        eventually GET /deviceStates/Local%2F101@{context} -> 200 {"state": "NOT_INUSE"}
        DELETE /channels/{near} -> 204
        eventually GET /deviceStates/Local%2F100@{context} -> 200 {"state": "NOT_INUSE"}
    of a custom device is set by a function DEVICE_STATE(Custom:NAME) as a global variable (func_devstate.c)
        POST /asterisk/variable?variable=DEVICE_STATE(Custom:$d)&value=BUSY -> 204
        eventually GET /deviceStates/Custom:$d -> 200 = {"name": "Custom:$d", "state": "BUSY"}
    is the same whatever the case of its prefix The reply gives the name back as it was asked for
        PUT /deviceStates/stasis:$d?deviceState=BUSY -> 204
        GET /deviceStates/STASIS:$d -> 200 = {"name": "STASIS:$d", "state": "BUSY"}
    is deleted [watched_device] 204, and it is UNKNOWN (stasis_app_device_state_delete)
        DELETE /deviceStates/Stasis:$d -> 204 empty
        GET /deviceStates/Stasis:$d -> 200 = {"name": "Stasis:$d", "state": "UNKNOWN"}
    may be deleted without being there 204
        DELETE /deviceStates/Stasis:$none -> 204
    is not deleted by a prefix in another case [watched_device] 204, and nothing happens
        DELETE /deviceStates/STASIS:$d -> 204
        GET /deviceStates/Stasis:$d -> 200 = {"name": "Stasis:$d", "state": "BUSY"}
    is not sent for subscribing alone [watched_device] The present state is not told
        never DeviceStateChanged {"device_state": "Stasis:$d"}
    is not sent when it is the same [watched_device] Only a change is told (devicestate.c)
        PUT /deviceStates/Stasis:$d?deviceState=BUSY -> 204
        PUT /deviceStates/Stasis:$d?deviceState=INUSE -> 204
        await DeviceStateChanged {"device_state": {"name": "Stasis:$d", "state": "INUSE"}}
        never DeviceStateChanged {"device_state": "Stasis:$d"}
    is sent as unknown when it is deleted [watched_device] At each DELETE (stasis_app_device_state_delete)
        DELETE /deviceStates/Stasis:$d -> 204
        await DeviceStateChanged {"device_state": {"name": "Stasis:$d", "state": "UNKNOWN"}}
        DELETE /deviceStates/Stasis:$d -> 204
        await DeviceStateChanged {"device_state": {"name": "Stasis:$d", "state": "UNKNOWN"}}
    is not sent when one that never was is deleted Nothing changed
        POST /applications/{app}/subscription?eventSource=deviceState:Stasis:$d -> 200
        DELETE /deviceStates/Stasis:$d -> 204
        never DeviceStateChanged
""")
class TestDeviceState:
    """The state of a device (res_stasis_device_state.c)."""

    def test_is_listed_by_name(self, ari):
        """Stored ones alone, by byte value, spelt Stasis: (resource_device_states.c, ast_ari_device_states_list)."""
        for word in ("b", "B", "a"):
            expect(ari.put("/deviceStates/stasis:" + ari.id(word), {"deviceState": "BUSY"}), status=204)
        reply = expect(ari.get("/deviceStates"), status=200)
        mine = [one for one in reply.json if ari.prefix in one["name"]]
        wanted = [{"name": "Stasis:" + ari.id(word), "state": "BUSY"} for word in ("B", "a", "b")]
        if mine != wanted:
            fail(reply.request, shown(wanted), shown(mine))


# --- mailboxes ---

scenes("""
    box A mailbox with one old message and two new ones
        PUT /mailboxes/$m?oldMessages=1&newMessages=2 -> 204 empty
""")


@script("""
    is made [box] By PUT: 204 (ast_ari_mailboxes_update)
        GET /mailboxes/$m -> 200 = {"name": "$m", "old_messages": 1, "new_messages": 2}
    is set again by [box] Both counts, each time (res_ari_mailboxes.c)
        PUT /mailboxes/$m%1 %2 -> 204
        GET /mailboxes/$m -> 200 = {"name": "$m", "old_messages": %3, "new_messages": %4}
        | both counts | ?oldMessages=3&newMessages=4 | | 3 | 4 || one count: the other is 0 | ?newMessages=4 | | 0 | 4 || nothing: both are 0 | | | 0 | 0
        | JSON | | {"oldMessages": 3, "newMessages": 4} | 3 | 4 || JSON and a query | ?oldMessages=5&newMessages=6 | {"oldMessages": 3} | 3 | 6
        | a form | | form: oldMessages=3&newMessages=4 | 3 | 4 || numbers with other text | ?oldMessages=%2012abc&newMessages=9.9 | | 12 | 9
        | text that is no number | ?oldMessages=abc&newMessages=0x10 | | 0 | 0 || numbers below zero | ?oldMessages=-3&newMessages=--1 | | -3 | 0
        | JSON that is no integer | | {"oldMessages": "3", "newMessages": 4.5} | 0 | 0
    is deleted [box] 204, and it is gone (ast_ari_mailboxes_delete)
        DELETE /mailboxes/$m -> 204 empty
        GET /mailboxes/$m -> 404 "Mailbox is does not exist"
    is not found to be [box] 404, in two spellings
        %1 /mailboxes/$%3 -> 404 "%2"
        | shown | GET | Mailbox is does not exist || deleted | DELETE | Mailbox does not exist
        x
        | it was never made | none || it is spelt in another case | M
    is a device with MWI:NAME (app.c, ast_app_has_voicemail; res_mwi_devstate.c)
        PUT /mailboxes/$m?newMessages=%1 -> 204
        eventually GET /deviceStates/MWI:$m -> 200 = {"name": "MWI:$m", "state": "%2"}
        | new messages | 1 | INUSE || no new messages | 0 | NOT_INUSE
    is a device that tells of changes When new messages come or go, and when it is deleted (res_mwi_devstate.c)
        POST /applications/{app}/subscription?eventSource=deviceState:MWI:$m -> 200
        PUT /mailboxes/$m?newMessages=2 -> 204
        await DeviceStateChanged {"device_state": {"name": "MWI:$m", "state": "INUSE"}}
        PUT /mailboxes/$m?newMessages=1 -> 204
        PUT /mailboxes/$m?newMessages=0 -> 204
        await DeviceStateChanged {"device_state": {"name": "MWI:$m", "state": "NOT_INUSE"}}
        PUT /mailboxes/$m?newMessages=1 -> 204
        await DeviceStateChanged {"device_state": {"name": "MWI:$m", "state": "INUSE"}}
        DELETE /mailboxes/$m -> 204
        await DeviceStateChanged {"device_state": {"name": "MWI:$m", "state": "NOT_INUSE"}}
""")
class TestMailbox:
    """A mailbox (resource_mailboxes.c)."""

    def test_is_listed_by_name(self, ari):
        """By byte value (res_stasis_mailbox.c, stasis_app_mailboxes_to_json)."""
        for word in ("b", "B", "a"):
            expect(ari.put("/mailboxes/" + ari.id(word)), status=204)
        reply = expect(ari.get("/mailboxes"), status=200)
        mine = [one["name"] for one in reply.json if ari.prefix in one["name"]]
        if mine != [ari.id(word) for word in ("B", "a", "b")]:
            fail(reply.request, "B, a, b", ", ".join(mine))


# --- endpoints ---

@script("""
    are not made by local channels [call] Local is no endpoint technology (core_local.c)
        GET /endpoints/Local -> 404 "No Endpoints found - invalid tech Local"
        GET /endpoints/Local/100@{context} -> 404 "Endpoint not found"
    are not found when the technology is 404 names the technology (ast_ari_endpoints_list_by_tech)
        GET /endpoints/%1$x -> 404 "No Endpoints found - invalid tech %2$x"
        | unknown | none- | none- || written with a blank | no%20 | no\\u0020
    are not found when the resource is unknown 404 (ast_ari_endpoints_get)
        GET /endpoints/PJSIP/$none -> 404 "Endpoint not found"
""")
class TestEndpoints:
    """Endpoints, of which a Local channel makes none (resource_endpoints.c)."""

    def test_are_listed(self, ari):
        """A list (ast_ari_endpoints_list)."""
        expect(ari.get("/endpoints"), status=200, json=list)


@script("""
    are made for Variables, to, technology; from is not looked at
        PUT /endpoints/sendMessage %1 -> %2
        | no receiver | | 400 "To must be specified" || an empty one | ?to=&from=a | 400 "To must be specified"
        | a number in JSON | {"to": 5} | 400 "To must be specified" || variables that are no object | {"variables": "a"} | 400 "To must be specified"
        | a variable that is a number, before no receiver | {"variables": {"a": 1}} | 400 "Only string values in the 'variables' object allowed"
        | a receiver of no technology | ?to=nope:bob&from=a&body=hi | 404 "Endpoint not found"
        | a receiver without a scheme, and no sender | ?to=bob | 404 "Endpoint not found"
        | a receiver in JSON | {"to": "nope:bob", "from": "a", "variables": {"a": "1"}} | 404 "Endpoint not found"
        | a receiver in a form | form: to=nope:bob&from=a | 404 "Endpoint not found"
    are made for a variable that is null 400 before the technology
        PUT /endpoints/sendMessage?to=nope:bob {"variables": {"a": null}} -> 400 "Only string values in the 'variables' object allowed"
    to an unknown endpoint are made first for 404 before all else (ast_ari_endpoints_send_message_to_endpoint)
        PUT /endpoints/nope/$none/sendMessage %1 -> 404 "Endpoint not found"
        | a good message | ?from=a&body=hi || a bad variable | {"variables": {"a": 1}}
""")
class TestSendMessageRefusals:
    """Refusals (resource_endpoints.c, send_message)."""


# --- sounds ---

@script("""
    are not found by 404 (ast_ari_sounds_list)
        GET /sounds?%1 -> 404 "No sounds found that matched the query"
        | an unknown language | lang=none || a language in another case | lang=EN || an unknown format | format=none || one of both | lang=en&format=none
    are not found 404 (ast_ari_sounds_get)
        GET /sounds/%1 -> 404 "Sound not found"
        | by an unknown name | $none || by a part of a name | re || by a path | digits%2F$x || with a suffix | ref-one.wav
""")
class TestSounds:
    """Sounds, as they lie on the disk (resource_sounds.c)."""

    def test_are_shown(self, ari, sound):
        """id, formats, and a text when there is a description (create_sound_blob)."""
        reply = expect(ari.get("/sounds/" + quote(sound, safe="")), status=200, has={"id": sound})
        for form in reply.json["formats"]:
            expect_members(reply.request, form, "language format")

    def test_are_listed(self, ari, sound):
        """As they are shown, in no promised order (ast_ari_sounds_list)."""
        reply = expect(ari.get("/sounds"), status=200)
        if [one for one in reply.json if one["id"] == sound] != [ari.get("/sounds/" + quote(sound, safe="")).json]:
            fail(reply.request, "a list with %s as GET /sounds/ID shows it" % sound, str(reply))

    @rows("query", ("their language", "lang={language}"), ("their format", "format={format}"),
          ("both", "lang={language}&format={format}"), ("nothing", "lang=&format="))
    def test_are_found_by(self, ari, sound, query):
        """lang and format must both agree; an empty one does not count (filter_langs)."""
        form = ari.get("/sounds/" + quote(sound, safe="")).json["formats"][0]
        reply = expect(ari.get("/sounds", query.format(**form)), status=200)
        if sound not in [one["id"] for one in reply.json]:
            fail(reply.request, "a list with " + sound, str(reply))


# --- asterisk: info, ping, modules ---

@script("""
    has section With these members at least
        GET /asterisk/info?only=%0 -> 200 {"%0": {%1}}
        | build | "os": "<text>", "kernel": "<text>", "machine": "<text>", "options": "<text>", "date": "<text>", "user": "<text>"
        | system | "version": "<text>", "entity_id": "<text>" || status | "startup_time": "<timestamp>", "last_reload_time": "<timestamp>"
        | config | "name": "<text>", "default_language": "<text>", "setid": {"user": "<text>", "group": "<text>"}
    does not know a section that is [departure] A member of only that is no text is as an unknown section; it crashes an Asterisk 16
        GET /asterisk/info {"only": %1} -> 200 = {}
        | a number | [1] || null | [null]
""")
class TestInfo:
    """What is told of the server (resource_asterisk.c, ast_ari_asterisk_get_info)."""

    @rows("more, sections",
          ("everything", {}, "build system config status"),
          ("one section", {"params": "only=status"}, "status"),
          ("two, in the order of all", {"params": "only=status,build"}, "build status"),
          ("one in capitals", {"params": "only=CONFIG"}, "config"),
          ("nothing, for an unknown one", {"params": "only=nope"}, ""),
          ("nothing, for an empty one", {"params": "only="}, ""),
          ("one beside an unknown one", {"params": "only=nope,system"}, "system"),
          ("no section after a blank", {"params": "only=config,%20system"}, "config"),
          ("the last of two parameters", {"params": "only=config&only=system"}, "system"),
          ("everything, for a parameter in capitals", {"params": "ONLY=status"}, "build system config status"),
          ("one by JSON", {"json": {"only": "config"}}, "config"),
          ("two by JSON", {"json": {"only": ["status", "system"]}}, "system status"),
          ("one by JSON over a query", {"params": "only=system", "json": {"only": ["status"]}}, "status"),
          ("everything, for an empty JSON list", {"json": {"only": []}}, "build system config status"))
    def test_shows(self, ari, more, sections):
        """only chooses, and does not order."""
        reply = expect(ari.get("/asterisk/info", **more), status=200)
        if list(reply.json) != sections.split():
            fail(reply.request, sections, " ".join(reply.json))


@script("""
    is answered With pong, the time and the id of the server
        GET /asterisk/info?only=system -> 200
        entity <- system.entity_id
        GET /asterisk/ping -> 200 = {"ping": "pong", "timestamp": "<timestamp>", "asterisk_id": "{entity}"}
""")
class TestPing:
    """A sign of life (resource_asterisk.c, ast_ari_asterisk_ping)."""


@script("""
    refuse to 404 and 409
        %1 /asterisk/modules/%2 -> %3
        | read one that is not there | GET | nope.so | 404 "Module could not be found in running modules"
        | read one by a part of its name | GET | res_ar | 404 "Module could not be found in running modules"
        | read one without its suffix | GET | res_ari | 409 "Module information could not be retrieved"
        | read one in capitals | GET | RES_ARI.so | 409 "Module information could not be retrieved"
        | load one that is there | POST | res_ari.so | 409 "Module is already loaded"
        | load one that is there, without its suffix | POST | res_ari | 409 "Module is already loaded"
        | load one that is built in | POST | logger | 409 "Module is already loaded"
        | load one that can not be found | POST | nope.so | 409 "Module load declined"
        | unload one that is not there | DELETE | nope.so | 404 "Module not found in running modules"
        | unload one that is in use | DELETE | res_stasis.so | 409 "Module could not be unloaded"
        | unload one that is built in | DELETE | logger | 409 "Module could not be unloaded"
        | reload one that is not there | PUT | nope.so | 404 "Module not found in running modules"
    refuse to reload one that can not be [module] 409
        PUT /asterisk/modules/%1 -> 409 "Module does not support reloading"
        | with its suffix | app_echo.so || in another case | App_Echo
    can be reloaded 204
        PUT /asterisk/modules/%1 -> 204 empty
        | as it is written | res_ari.so || without its suffix | res_ari
    can be unloaded and loaded [module] 204 each, and it is gone in between
        DELETE /asterisk/modules/%1 -> 204 empty
        GET /asterisk/modules/app_echo.so -> 404 "Module could not be found in running modules"
        POST /asterisk/modules/%1 -> 204 empty
        GET /asterisk/modules/app_echo.so -> 200 {"name": "app_echo.so", "status": "Running"}
        | as it is written | app_echo.so || without its suffix | app_echo
""")
class TestModules:
    """Modules (resource_asterisk.c, ast_ari_asterisk_*_module)."""

    def test_are_listed_by_name(self, ari):
        """Without regard to case."""
        reply = expect(ari.get("/asterisk/modules"), status=200, json=list)
        names = [module["name"].lower() for module in reply.json]
        if names != sorted(names) or "res_ari.so" not in names:
            fail(reply.request, "a sorted list with res_ari.so", " ".join(names)[:300])

    def test_are_listed_as_they_are_shown(self, ari):
        """name, description, use_count, status, support_level (resource_asterisk.c, process_module_list)."""
        reply = expect(ari.get("/asterisk/modules/res_stasis.so"), status=200, json={
            "name": "res_stasis.so", "description": str, "use_count": int, "status": "Running",
            "support_level": re.compile("core|extended|deprecated")})
        if reply.json["name"] not in [module["name"] for module in ari.get("/asterisk/modules").json]:
            fail(reply.request, "the module in the list too", "it is not")


# --- asterisk: log channels ---

@script("""
    are deleted 204, and it is gone (ast_ari_asterisk_delete_log)
        POST /asterisk/logging/$log?configuration=error -> 204
        DELETE /asterisk/logging/$log -> 204 empty
        DELETE /asterisk/logging/$log -> 404 "Log channel does not exist"
    that were added are gone after Each reads the configuration again, even in vain (ast_logger_rotate_channel)
        POST /asterisk/logging/$log?configuration=error -> 204
        PUT /asterisk/%1 -> %2
        DELETE /asterisk/logging/$log -> 404 "Log channel does not exist"
        | rotating | logging/$log/rotate | 204 empty || rotating an unknown one | logging/$none/rotate | 404 "Log channel does not exist"
        | reloading the logger | modules/logger | 204
    can not be 400, 500, 404
        %1 /asterisk/logging/%2 -> %3
        | added without levels, before it exists | POST | $log | 400 "Configuration levels are required"
        | added with empty levels | POST | $log?configuration= | 400 "Configuration levels are required"
        | added for an unknown facility of syslog | POST | syslog.nope?configuration=debug | 500 "Allocation failed"
        | deleted without being there | DELETE | $log | 404 "Log channel does not exist"
        | rotated without being there | PUT | $log/rotate | 404 "Log channel does not exist"
    of the console can not be [console] 400, 409, 404
        %1 /asterisk/logging/%2 -> %3
        | added without levels, though it exists | POST | console | 400 "Configuration levels are required"
        | added again | POST | console?configuration=debug | 409 "Log channel already exists"
        | added again in capitals | POST | CONSOLE?configuration=debug | 409 "Log channel already exists"
        | deleted without having been added | DELETE | console | 404 "Log channel does not exist"
        | rotated without being a file | PUT | console/rotate | 404 "Log channel does not exist"
    can not be added twice 409 (ast_logger_create_channel)
        POST /asterisk/logging/$log?configuration=error -> 204
        POST /asterisk/logging/$log?configuration=debug -> 409 "Log channel already exists"
    have names that are case sensitive Another case is another file
        POST /asterisk/logging/$log?configuration=error -> 204
        DELETE /asterisk/logging/$LOG -> 404 "Log channel does not exist"
""")
class TestLogChannels:
    """Log channels (resource_asterisk.c; logger.c)."""

    def test_are_listed(self, ari):
        """channel, type, status, configuration (resource_asterisk.c, ast_ari_asterisk_list_log_channels)."""
        reply = expect(ari.get("/asterisk/logging"), status=200, json=list)
        for one in reply.json:
            if one["type"] not in ("Console", "File", "Syslog") or one["status"] != "Enabled":
                fail(reply.request, "Console, File or Syslog, Enabled", shown(one))

    @rows("levels, configuration",
          ("one level", "notice", "NOTICE "), ("two, in the order of all", "verbose,debug", "DEBUG VERBOSE "),
          ("all levels", "*", re.compile("DEBUG TRACE NOTICE WARNING ERROR VERBOSE DTMF .*")),
          ("blanks and unknown ones", " error ,bogus", "ERROR "), ("a number behind verbose", "verbose(3)", "VERBOSE "),
          ("a format before them", "[json]error", "ERROR "), ("unknown ones alone", "bogus", ""), ("a comma", ",", ""),
          ("JSON", {"json": {"configuration": "error"}}, "ERROR "), ("a form", {"form": "configuration=error"}, "ERROR "))
    def test_are_added_with(self, ari, levels, configuration):
        """204; levels are listed in one order, each with a blank behind it (make_components)."""
        given = levels if isinstance(levels, dict) else {"params": {"configuration": levels}}
        expect(ari.post("/asterisk/logging/" + ari.id("log"), **given), status=204, body=b"")
        reply = ari.get("/asterisk/logging")
        mine = [one for one in reply.json if one["channel"].endswith("/" + ari.id("log"))]
        wanted = {"channel": str, "type": "File", "status": "Enabled", "configuration": configuration}
        if len(mine) != 1 or not matches(mine[0], wanted):
            fail(reply.request, shown(wanted), shown(mine))

    def test_are_listed_with_the_newest_first(self, ari):
        """Before those of the configuration (logger.c)."""
        expect(ari.post("/asterisk/logging/" + ari.id("log"), {"configuration": "error"}), status=204)
        reply = ari.get("/asterisk/logging")
        if not reply.json[0]["channel"].endswith("/" + ari.id("log")):
            fail(reply.request, "%s first" % ari.id("log"), str(reply))


# --- asterisk: global variables ---

scenes("""
    variable A global variable, $V
        POST /asterisk/variable?variable=$V&value=v -> 204 empty
""")


@script("""
    is set by 204, and it can be read (ast_ari_asterisk_set_global_var)
        POST /asterisk/variable %1 -> 204 empty
        GET /asterisk/variable?variable=$V -> 200 = {"value": "v"}
        | a query | ?variable=$V&value=v || JSON | {"variable": "$V", "value": "v"} || a form | form: variable=$V&value=v
        | a name with an underscore | ?variable=_$V&value=v || a name with two | ?variable=__$V&value=v || a function | ?variable=GLOBAL($V)&value=v
    is read by the body of a get too [variable] A body counts for any method (res_ari.c)
        GET /asterisk/variable {"variable": "$V"} -> 200 = {"value": "v"}
    can not be 400
        %1 /asterisk/variable %2 -> 400 "Variable name is required"
        | read with | GET || set with | POST
        x
        | no name || an empty name | ?variable=&value=x || a name that is no text | {"variable": 5}
    is empty when it is not set No 404 here (ast_ari_asterisk_get_global_var)
        GET /asterisk/variable?variable=$none -> 200 = {"value": ""}
    is empty again with [variable] Unset or empty, it reads the same
        POST /asterisk/variable %1 -> 204
        GET /asterisk/variable?variable=$V -> 200 = {"value": ""}
        | no value, which unsets it | ?variable=$V || an empty value | ?variable=$V&value= || a value that is no text | {"variable": "$V", "value": 5}
    may hold Any text, taken literally (pbx_variables.c)
        POST /asterisk/variable {"variable": "$V", "value": "%1"} -> 204
        GET /asterisk/variable?variable=$V -> 200 = {"value": "%1"}
        | blanks and signs | two words + \\"more\\\\/ || beyond ASCII | caf\u00e9 \U0001f600 || dialplan syntax | ${1}-$[1] || line ends | a\\n\\tb\\u0001
    is not found by [variable] Names are literal and case-sensitive (pbx_variables.c)
        GET /asterisk/variable?variable=%1 -> 200 = {"value": ""}
        | another case | $v || a substring | $V:1 || a function | GLOBAL($V)
    of an unknown function is set in vain 204 (pbx_functions.c, ast_func_write)
        POST /asterisk/variable?variable=NOFUNC(x)&value=v -> 204
    is built in as It reads without being set (pbx_variables.c, pbx_retrieve_variable)
        GET /asterisk/variable?variable=%0 -> 200 = {"value": "<.+>"}
        | EPOCH || ENTITYID
    is told to who hears everything Without a channel (stasis_channels.c, varset_to_json)
        open $all all
        POST /asterisk/variable?variable=%1&value=v -> 204
        await ChannelVarset {"variable": "%2", "value": "v", "channel": "<nothing>"}
        | as it is | $V | $V || with its underscores | __$V | __$V || by what GLOBAL() names | GLOBAL($V) | $V
    is told when it is unset Once, with an empty value (pbx_variables.c)
        open $all all
        do variable
        await ChannelVarset {"variable": "$V", "value": "v"}
        POST /asterisk/variable?variable=$V -> 204
        POST /asterisk/variable?variable=$V -> 204
        await ChannelVarset {"variable": "$V", "value": ""}
        never ChannelVarset {"variable": "$V"}
    is told to who hears of all channels Those subscribed to all channels (stasis/app.c)
        POST /applications/{app}/subscription?eventSource=channel: -> 200
        do variable
        await ChannelVarset {"variable": "$V"}
    is not told to others [call, variable] Not to those who hear of some channels (stasis/app.c)
        never ChannelVarset {"variable": "$V"}
""")
class TestGlobalVariable:
    """Global variables (resource_asterisk.c)."""


# --- asterisk: dynamic configuration ---

def objects(text):
    """Text with the path of an object in it, and with attributes."""
    def attribute(match):
        return '{"attribute": "msgs_%s", "value": "%s"}' % (match.group(1).lower(), match.group(2))
    return re.sub(r"(NEW|OLD)\((.*?)\)", attribute, text.replace("OBJECT", "/asterisk/config/dynamic/res_mwi_external/mailboxes/$o"))


@script(objects("""
    has no 404: class, then type (ast_ari_asterisk_get_object)
        %1 /asterisk/config/dynamic/%2 -> 404 "%3"
        | object to read | GET || object to set | PUT || object to delete | DELETE
        x
        | of an unknown class | nope/thing/one | configClass 'nope' not found || of a class with a blank | a%20b/c/d | configClass 'a b' not found
        | of a class in capitals | RES_MWI_EXTERNAL/mailboxes/one | configClass 'RES_MWI_EXTERNAL' not found
        | of an unknown type | res_mwi_external/thing/one | objectType 'thing' not found
        | of a type in another case | res_mwi_external/Mailboxes/one | objectType 'Mailboxes' not found
    has no unknown object [mailbox_objects] 404
        %1 OBJECT -> 404 "Object with id '$o' not found"
        | to read | GET || to delete | DELETE
    makes an object of [mailbox_objects] 200 with all attributes, in the order of the class (ast_ari_asterisk_update_object)
        PUT OBJECT %1 -> 200 = [{"attribute": "msgs_new", "value": "%2"}, {"attribute": "msgs_old", "value": "%3"}]
        GET OBJECT -> 200 = [{"attribute": "msgs_new", "value": "%2"}, {"attribute": "msgs_old", "value": "%3"}]
        | nothing | | 0 | 0 || an empty list of fields | {"fields": []} | 0 | 0 || fields that are no list | {"fields": "x"} | 0 | 0
        | one field | {"fields": [NEW(3)]} | 3 | 0 || two fields, in any order | {"fields": [OLD(2), NEW(9)]} | 9 | 2
        | a name in capitals | {"fields": [{"attribute": "MSGS_NEW", "value": "3"}]} | 3 | 0
        | a number with blanks before it, and a hexadecimal one | {"fields": [NEW( 7), OLD(0x10)]} | 7 | 16
        | one field twice: the last counts | {"fields": [NEW(1), NEW(2)]} | 2 | 0
    keeps a field that begins with @ [mailbox_objects] It is nothing of the class, and comes first (sorcery.c)
        PUT OBJECT {"fields": [NEW(3), {"attribute": "@note", "value": "n"}]} -> 200
            = [{"attribute": "@note", "value": "n"}, {"attribute": "msgs_new", "value": "3"}, {"attribute": "msgs_old", "value": "0"}]
    does not [mailbox_objects] 400, and nothing changes, not even by the good fields (sorcery.c)
        %1
        PUT OBJECT {"fields": [%4]} -> 400 Bad request "%2 of object '$o' failed field value validation"
        GET OBJECT -> %3
        | make | | Creation | 404 || change | PUT OBJECT {"fields": [NEW(5)]} -> 200 | Update | 200 = [NEW(5), OLD(0)]
        x
        | an unknown attribute | {"attribute": "nope", "value": "1"} || an unknown attribute after a good one | OLD(1), {"attribute": "nope", "value": "1"}
        | a word for a number | NEW(many) || a number below zero | NEW(-1) || a number with more text | NEW(1x) || nothing for a number | NEW()
        | a number beyond 32 bits | NEW(4294967296)
    changes an object [mailbox_objects] The given fields alone (ast_ari_asterisk_update_object)
        PUT OBJECT {"fields": [NEW(5), OLD(6)]} -> 200
        PUT OBJECT {"fields": [NEW(7)]} -> 200 = [NEW(7), OLD(6)]
    does not change an object by [mailbox_objects] 400 (ast_ari_asterisk_update_object)
        PUT OBJECT -> 200
        PUT OBJECT %1 -> 400 Bad request "Fields must be provided to update object '$o'"
        | no body || a body without fields | {"other": []} || fields in the query | ?fields=x
    counts without a sign [mailbox_objects] 4294967295 here is -1 in /mailboxes, and no reason to be INUSE (res_mwi_external.c)
        PUT OBJECT {"fields": [NEW(4294967295)]} -> 200 = [NEW(4294967295), OLD(0)]
        GET /mailboxes/$o -> 200 = {"name": "$o", "old_messages": 0, "new_messages": -1}
        GET /deviceStates/MWI:$o -> 200 {"state": "NOT_INUSE"}
    has mailboxes for objects [mailbox_objects] What is made here is a mailbox, and the other way round (res_mwi_external.c)
        PUT OBJECT {"fields": [NEW(3), OLD(1)]} -> 200
        GET /mailboxes/$o -> 200 = {"name": "$o", "old_messages": 1, "new_messages": 3}
        PUT /mailboxes/$o?newMessages=4 -> 204
        GET OBJECT -> 200 = [NEW(4), OLD(0)]
    deletes an object [mailbox_objects] 204, and it is gone (ast_ari_asterisk_delete_object)
        PUT OBJECT -> 200
        DELETE OBJECT -> 204 empty
        GET OBJECT -> 404
    does not take a field [departure, mailbox_objects] A field that is no pair of texts is as a bad value; it crashes an Asterisk 16
        PUT OBJECT {"fields": [%1]} -> 400 Bad request "Creation of object '$o' failed field value validation"
        | without a value | {"attribute": "msgs_new"} || without an attribute | {"value": "1"} || with a number | {"attribute": "msgs_new", "value": 1}
        | that is a text | "msgs_new"
"""))
class TestDynamicConfiguration:
    """Objects of the configuration, of which mailboxes are those that can be changed (resource_asterisk.c)."""


# === (c) promises ===
#
# What the module says of itself, held to it.


@functools.lru_cache(maxsize=None)
def source():
    with open(ari_ref.__file__, encoding="utf-8") as file:
        return file.read()


@functools.lru_cache(maxsize=None)
def syntax():
    return ast.parse(source())


def banners(text):
    """[(line, number, title)] of the sections and of their parts; a number is (7, 0), that of a part (7, 1)."""
    return [(line, (int(match.group(1)), int(match.group(2) or 0)), match.group(3))
            for line, one in enumerate(text.split("\n"), 1)
            for match in [re.match(r"# (?:===|---) (\d+)\.(\d+)? (.+?)(?: \(.*\))?(?: ===)?$", one)] if match]


def looked_up(code):
    """The names that code looks up outside itself. Annotations are texts here, and so none."""
    steps = list(dis.get_instructions(code))
    own = {step.argval for step in steps if step.opname == "STORE_NAME"}
    found = {step.argval for step in steps if re.match("LOAD_.*(NAME|GLOBALS?)$", step.opname)}
    return (found - own).union(*[looked_up(inner) for inner in code.co_consts if isinstance(inner, types.CodeType)])


def upward():
    """[(section, section of what it uses, words for both)] where a statement uses a name of a section or part below its own."""
    marks, statements, defined, found = banners(source()), [], {}, []
    for node in syntax().body:
        place = max([number for line, number, _ in marks if line <= node.lineno], default=(0, 0))
        names = [node.name] if hasattr(node, "name") else [
            inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store)]
        statements.append((place, names, node))
        defined.update((name, place) for name in names if name not in defined)
    for place, names, node in statements:
        for name in sorted(looked_up(compile(ast.Module([node], []), "module", "exec"))):
            if defined.get(name, place) > place:
                words = "line %d: %s of %d.%d uses %s of %d.%d" % (node.lineno, ", ".join(names), *place, name, *defined[name])
                found.append((place, defined[name], words))
    return found


@in_process
class TestModuleItself:
    """The rules that the docstring of the module states."""

    def test_a_section_uses_names_of_the_sections_above_it_only(self):
        """The arrow rule. Inside a section it is the aim: what its parts use of parts below them is printed (pytest -rP)."""
        breaches = upward()
        print("\n".join(words for here, there, words in breaches if here[0] == there[0]))
        assert [words for here, there, words in breaches if here[0] != there[0]] == []

    def test_the_map_in_the_docstring_is_that_of_the_banners(self):
        """Number and title of every section, in order."""
        mapped = re.findall(r"^ +(\d+)\. (.+?)(?:   .*)?$", ari_ref.__doc__, re.M)
        assert mapped == [(str(section), title) for _, (section, part), title in banners(source()) if not part]

    def test_the_map_of_the_longest_section_is_that_of_its_parts(self):
        """Section 7 says at its head what its parts are, in order."""
        mapped = re.findall(r"^#   7\.(\d+) (.+?)(?:   .*)?$", source(), re.M)
        assert mapped and mapped == [(str(part), title) for _, (section, part), title in banners(source()) if section == 7 and part]

    def test_only_the_server_knows_of_sockets_and_threads(self):
        """No name of socket or threading above that section, but for what crypt(3) takes; the page's text has its own."""
        text = source().replace(ari_ref.PAGE, "\n" * ari_ref.PAGE.count("\n"))
        start = next(line for line, _, title in banners(text) if title == "Server")
        known = [line for line in text.split("\n")[:start] if re.search(r"\b(socket|threading)\.\w", line)]
        assert [line.partition(" ")[0] for line in known] == ["ONE_CRYPT", "HASHING"]

    def test_there_is_one_lock_and_it_is_taken_in_one_place(self):
        """Server.lock, in change(); the pen of an outbox is a lock that is tried, and nobody but the end of a socket waits for it.

        Five more hold off no other: one crypt(3) at a time, one user of a TLS object, one thread that leads the crew, one change of
        what is watched, one start of the thread of RTP."""
        locks = re.findall(r"(\w+)(?:, [\w.]+)? = threading\.(?:R?Lock|Semaphore)\(", source())
        assert locks == ["ONE_CRYPT", "use", "pen", "lead", "watching", "starting", "lock"]
        assert re.findall(r"with self\.lock|lock\.acquire|pen\.acquire\(.*?\)", source()) == [
            "pen.acquire()", "pen.acquire(blocking=False)", "pen.acquire(timeout=max(0.0, seconds)", "with self.lock"]

    def test_every_class_and_function_of_tests_has_a_name_of_its_own(self):
        """Or the first would not run."""
        with open(__file__, encoding="utf-8") as file:
            names = re.findall(r"^(?:class|def) (\w+)", file.read(), re.MULTILINE)
        assert len(names) == len(set(names))

    def test_the_standard_library_is_enough(self):
        if not hasattr(sys, "stdlib_module_names"):
            pytest.skip("this Python cannot list its standard library")
        used = {name.name.partition(".")[0] for node in ast.walk(syntax()) if isinstance(node, ast.Import)
                for name in node.names}
        assert used - sys.stdlib_module_names <= {"crypt"}

    def test_an_operation_is_described_where_it_is_served(self):
        """The API of Asterisk 16.30.1: 98 operations on 68 paths, each once."""
        served = [(path, method) for path, methods in ari_ref.OPERATIONS.items() for method in methods]
        described = [(api["path"], operation["httpMethod"]) for name in ari_ref.RESOURCES
                     for api in ari_ref.described_resource(name)["apis"] for operation in api["operations"]]
        assert sorted(described) == sorted(served) and (len(served), len(ari_ref.OPERATIONS)) == (98, 68)

    def test_a_parameter_is_described_by_its_name_in_words(self):
        """In the API description."""
        parameters = ari_ref.OPERATIONS["/channels/{channelId}/play"]["POST"].parameters
        assert [parameters[name].describe()["description"] for name in ("channel", "media")] == ["channel id", "media"]

    @rows("place, handler, problem",
          ("an argument without a kind that is not in the path", "GET /new/{id}", lambda other: None,
           "other has no kind, and is not in /new/{id}"),
          ("a part of the path that is no argument", "GET /new/{id}", lambda stasis: None,
           "/new/{id} has parts that x_y does not name"),
          ("a method that its path has already", "GET /channels", lambda stasis: None, "GET /channels is declared twice"))
    def test_a_declaration_does_not_fit_its_function_with(self, place, handler, problem):
        """It is an error at import."""
        handler.__name__ = "x_y"
        with pytest.raises(TypeError) as caught:
            ari_ref.operation(place)(handler)
        assert str(caught.value) == problem


def run(*arguments):
    """main() with these arguments: (exit status, what it printed, what it complained of)."""
    printed, complained = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complained):
        try:
            status = ari_ref.main(list(arguments))
        except SystemExit as end:
            status = end.code
    return status, printed.getvalue(), complained.getvalue()


HERE = os.path.dirname(os.path.abspath(__file__))
SAMPLE = os.path.join(HERE, "ari.conf.sample")
ASTERISK = "[asterisk]\ntype = user\npassword = asterisk\n"
CLOSING_PING = b"GET /ari/asterisk/ping?api_key=asterisk:asterisk HTTP/1.1\r\nConnection: close\r\n\r\n"


@functools.lru_cache(maxsize=None)
def program():
    """The module compiled, which Python runs like a script: a process starts in half the time."""
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return py_compile.compile(ari_ref.__file__, os.path.join(folder.name, "ari_ref.pyc"), doraise=True)


def process(*arguments, **options):
    """The module as a process of its own that has ended."""
    return subprocess.run([sys.executable, program(), *arguments], stderr=subprocess.PIPE, **options)


@contextlib.contextmanager
def serving(*arguments, as_script=False):
    """The module as a process of its own on a free port: (process, URL)."""
    command = [sys.executable, ari_ref.__file__ if as_script else program(), "--port", "0", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        yield process, process.stdout.readline().decode().strip()
    finally:
        process.terminate()
        process.wait(10)
        process.stdout.close()
        process.stderr.close()


class ControlClient(Client):
    """A client that finds /control beside ARI."""

    def path(self, path):
        return path if path.startswith("/control") else super().path(path)


@contextlib.contextmanager
def hosting(word="here", **options):
    """The module in this process, whose user is asterisk, and a client of it: (server, client)."""
    with ari_ref.Server(**{"users": {"asterisk": "asterisk"}, "port": 0, **options}) as server:
        with ControlClient(ServerUnderTest(server.url, server), word) as client:
            yield server, client


@pytest.fixture
def plain():
    """The module in this process, whose user is asterisk."""
    with ari_ref.Server(users={"asterisk": "asterisk"}, port=0) as server:
        yield server


def get(url, auth="asterisk:asterisk", path="/asterisk/ping", method="GET"):
    """Status of one request with the library that everybody has."""
    request = urllib.request.Request(url + path, method=method, headers={"Authorization": basic(auth)})
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return reply.status
    except urllib.error.HTTPError as error:
        return error.code


@contextlib.contextmanager
def held_up(monkeypatch, owner, name, counts=lambda *given: True):
    """Where its arguments count, a function of the module waits for the end of the block; given is what is set when it does."""
    begun, is_over, function = threading.Event(), threading.Event(), getattr(owner, name)
    def wait(*given):
        if counts(*given):
            begun.set()
            is_over.wait(3 * DEADLINE_SECONDS)
        return function(*given)
    monkeypatch.setattr(owner, name, wait)
    try:
        yield begun
    finally:
        is_over.set()


def until(claim):
    """Wait for what another thread does."""
    deadline = time.monotonic() + 10
    while not claim():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def rest(sock):
    """All that comes, to the end."""
    return b"".join(iter(lambda: sock.recv(65536), b""))


def refused(words, error=None):
    """What a `with` block must raise, a ConfigError unless it is said; nothing where there are no words for it."""
    return pytest.raises(error or ari_ref.ConfigError, match=words) if words else contextlib.nullcontext()


class Certificate:
    """A certificate of localhost, its key, the same key behind a pass phrase, and how to connect."""

    def __init__(self, folder):
        self.folder = folder
        self.path, self.key, self.locked_key = (str(folder / name) for name in ("cert.pem", "key.pem", "locked.pem"))
        for command in (["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                         "-keyout", self.key, "-out", self.path, "-days", "2", "-subj", "/CN=localhost"],
                        ["ec", "-aes128", "-passout", "pass:x", "-in", self.key, "-out", self.locked_key]):
            if not shutil.which("openssl") or subprocess.run(["openssl", *command], stderr=subprocess.DEVNULL).returncode:
                pytest.skip("no openssl to make a certificate with")
        self.context = ssl.create_default_context(cafile=self.path)
        self.context.check_hostname = False

    def connect(self, address):
        plain = socket.create_connection(address, timeout=10)
        try:
            return self.context.wrap_socket(plain, suppress_ragged_eofs=False)
        except BaseException:
            plain.close()
            raise

    def ask(self, address, request):
        """What comes back for a request, up to an end that nobody could have cut there: one without close_notify is an error."""
        with self.connect(address) as sock:
            sock.sendall(request)
            return rest(sock)

    def server_context(self):
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.path, self.key)
        return context


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return Certificate(tmp_path_factory.mktemp("certificate"))


@in_process
class TestCommandLine:
    """Options, signals and exit status: 2 for usage, 1 for what cannot be done."""

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
        assert shown == {
            "enabled": "yes", "pretty": "no", "auth_realm": default.auth_realm, "allowed_origins": "", "channelvars": "",
            "websocket_write_timeout": str(default.write_timeout_ms), "password_format": "plain", "read_only": "no"}

    def test_check_prints_what_takes_effect_and_no_password(self):
        status, printed, complained = run("--check", "--config", SAMPLE)
        assert (status, complained) == (0, "") and "user reader: read-only" in printed and "readonly" not in printed
        assert printed.startswith("listens on 127.0.0.1 port 8088, http\n")

    def test_says_where_it_looked_for_a_configuration(self, tmp_path, monkeypatch):
        """Neither file is there: one line that names both and the sample."""
        if os.path.exists("/etc/asterisk/ari.conf"):
            pytest.skip("this machine has an ari.conf")
        monkeypatch.chdir(tmp_path)
        status, _, complained = run()
        assert status == 2 and all(word in complained for word in (" ari.conf ", "/etc/asterisk/ari.conf", "ari.conf.sample"))

    def test_operations_lists_all(self):
        """One line each, those of /control behind."""
        status, printed, _ = run("--operations")
        lines = printed.splitlines()
        assert status == 0 and len(lines) > 110
        assert [number for number, line in enumerate(lines) if "/control/" in line] == list(range(98, len(lines)))

    def test_version_names_the_asterisk_it_is_like(self):
        status, printed, _ = run("--version")
        assert status == 0 and "16.30.1" in printed

    def test_a_port_in_use_is_told_in_one_line(self, plain):
        status, _, complained = run("--config", SAMPLE, "--port", str(plain.listeners[0].server_address[1]))
        assert status == 1 and len(complained.splitlines()) == 1

    def test_ends_in_order_on_sigterm(self):
        """TCP ends without a close frame, as Asterisk's does, and the exit status is 0."""
        with serving("--config", SAMPLE, as_script=True) as (process, url), Client(ServerUnderTest(url), "end") as client:
            connection = client.events().connection
            process.terminate()
            assert connection.is_at_end() and process.wait(10) == 0

    @rows("name", ("without a suffix", "ari_ref"), ("with two dots", "ari.v2.py"), ("a link", "link"))
    def test_runs_under_any_name(self, tmp_path, name):
        """The file by itself, every warning being an error."""
        (os.symlink if name == "link" else shutil.copy)(ari_ref.__file__, str(tmp_path / name))
        done = subprocess.run([sys.executable, "-X", "dev", "-W", "error", str(tmp_path / name), "--check", "--config", SAMPLE],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == 0 and b"user reader: read-only" in done.stdout
        assert os.access(ari_ref.__file__, os.X_OK)

    def test_reads_its_configuration_again_on_sighup(self, tmp_path):
        """A good file takes effect; a bad one is told and the old configuration stays."""
        path = tmp_path / "ari.conf"
        path.write_text(USER)
        with serving("--config", str(path)) as (process, url):
            assert get(url, "u:p") == 200
            path.write_text("[u]\ntype = user\npassword = other\n")
            process.send_signal(signal.SIGHUP)
            until(lambda: get(url, "u:other") == 200)
            path.write_text("[u]\nnope\ntype = nobody\n")
            process.send_signal(signal.SIGHUP)
            assert b"the old configuration stays" in process.stderr.readline()
            assert get(url, "u:other") == 200
            path.write_text("[general]\nbad = yes\n")
            assert get(url, "u:other", "/asterisk/modules/res_ari.so", "PUT") == 409
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

    def test_serves_https(self, certificate):
        """--tls-cert and --tls-key."""
        with serving("--config", SAMPLE, "--tls-cert", certificate.path, "--tls-key", certificate.key) as (_, url):
            assert url.startswith("https://")
            assert certificate.ask(urlsplit(url).netloc.split(":"), CLOSING_PING).startswith(b"HTTP/1.1 200 OK")

    def test_serves_http_and_https_as_http_conf_says(self, tmp_path, certificate):
        """Side by side, in one folder with ari.conf; the command line says where (--etc, --port)."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = free.getsockname()
        (tmp_path / "ari.conf").write_text(ASTERISK)
        (tmp_path / "http.conf").write_text(
            "[general]\nenabled=yes\nbindaddr=127.0.0.1\nprefix=pbx\ntlsenable=yes\ntlsbindaddr=%s:%d\n" % address +
            "tlscertfile=%s\ntlsprivatekey=%s\n" % (certificate.path, certificate.key))
        with serving("--etc", str(tmp_path)) as (_, url):
            assert url.startswith("http://") and url.endswith("/pbx/ari") and get(url) == 200
            assert certificate.ask(address, CLOSING_PING.replace(b"/ari", b"/pbx/ari")).startswith(b"HTTP/1.1 200 OK")

    @rows("options, expected, words", *[(words.replace(HERE, "."), *row, words) for *row, words in (
        (["--port", "99999"], 2, "invalid port value: '99999'"), (["--port", "-1"], 2, "invalid port value: '-1'"),
        (["--config", "nowhere.conf"], 2, "nowhere.conf is not there"), (["--etc", "nowhere"], 1, "--etc: nowhere: no such folder"),
        (["--bind", "nowhere.invalid"], 1, "nowhere.invalid port 0: cannot serve here"),
        (["--bind", "\u00e9\udcff"], 1, "port 0: cannot serve here"), (["--recordings", SAMPLE], 1, "--recordings: %s: " % SAMPLE),
        (["--sounds", "nowhere"], 1, "--sounds: nowhere: No such file or directory"),
        (["--phone", "alice"], 1, "telephone alice: A telephone is TECHNOLOGY/NAME"),
        (["--tls-key", "k"], 1, "--tls-key: it needs --tls-cert"),
        (["--tls-cert", "none.pem"], 1, "--tls-cert: none.pem: No such file or directory"))])
    def test_says(self, options, expected, words):
        """What is wrong, in one line that names the option and the reason."""
        options = ["--config", SAMPLE, "--port", "0", *options]
        status, printed, complained = run(*options)
        assert (status, printed) == (expected, "") and words in complained.splitlines()[-1]
        assert run("--check", *options)[0] == expected

    def check(self, folder, name, text, *options):
        """--check with a folder that has this file."""
        (folder / "ari.conf").write_text(USER)
        (folder / name).write_bytes(text.encode("utf-8", "surrogateescape"))
        return run("--check", "--etc", str(folder), *options)

    @rows("name, words, text", *[(words, name, words, text) for name, words, text in (
        ("ari.conf", "ari.conf:2: unknown option", "nope = 1"),
        ("ari.conf", "ari.conf:2: allowed_origins: an origin with a blank", "allowed_origins = http://a, http://b"),
        ("ari.conf", "ari.conf:2: allowed_origins: an origin is scheme://host", "allowed_origins = localhost:3000"),
        ("ari.conf", "ari.conf:2: allowed_origins: an origin is scheme://host", "allowed_origins = http://a/"),
        ("ari.conf", "ari.conf:2: allowed_origins: a browser sends an origin in small letters", "allowed_origins = http://A"),
        ("ari.conf", "and without a usual port", "allowed_origins = http://a:80"),
        ("ari.conf", "and without a usual port", "allowed_origins = https://a:443"),
        ("http.conf", "http.conf:2: prefix: no path holds that", "prefix = a b"),
        ("http.conf", "http.conf:2: prefix: it begins with a slash of its own", "prefix = /a"),
        ("ari.conf", "ari.conf:2: pretty: it is neither yes nor no", "pretty = maybe"),
        ("ari.conf", "ari.conf:2: auth_realm: ${...} is not replaced", "auth_realm = ${REALM}"),
        ("ari.conf", "ari.conf:2: auth_realm: its quotation mark ends", 'auth_realm = a"b'),
        ("ari.conf", "ari.conf:2: auth_realm must be without control characters", "auth_realm = a\rb"),
        ("ari.conf", "ari.conf:2: channelvars must be UTF-8", "channelvars = \udcff"),
        ("ari.conf", "ari.conf:2: channelvars: the blank is part of a name", "channelvars = A, B"),
        ("ari.conf", "ari.conf:2: '#' is ignored", "#password = secret"),
        ("ari.conf", "ari.conf:4: password: only its first 255 bytes count", "[u]\ntype = user\npassword = " + "secret" * 50),
        ("ari.conf", "user 'a:b' has a ':' in the name", "[a:b]\ntype = user\npassword = x"),
        ("ari.conf", "user 'u' has a password that is no crypt(3) hash",
         "[u]\ntype = user\npassword_format = crypt\npassword = secret"),
        ("extensions.conf", "extensions.conf:3: no pattern: _[9-0], ignored", "[c]\nexten => _[9-0],1,NoOp()"),
        ("extensions.conf", "[c] includes the context d, which is not there", "[c]\ninclude => d"),
        ("extensions.conf", "1 in [c] has no priority 1", "[c]\nexten => 1,2,NoOp()"),
        ("pjsip.conf", "pjsip.conf:2: [a] is not UTF-8, ignored", "[a]\ntype = endpoint\ncallerid = \udce9"),
        ("pjsip.conf", "telephone PJSIP/a/b: A telephone is TECHNOLOGY/NAME", "[a/b]\ntype = endpoint"),
        ("http.conf", "[general] needs enabled = yes", ""))])
    def test_check_says(self, tmp_path, name, words, text):
        """What will not do what its author meant, with file and line, and no password."""
        status, printed, complained = self.check(tmp_path, name, "[general]\n%s\n" % text, "--port", "0")
        assert status == 1 and words in complained and "secret" not in printed + complained

    TLS = "[general]\nenabled = yes\nbindaddr = 127.0.0.1\nbindport = 8200\ntlsenable = yes\ntlscertfile = "

    @rows("files, words", ("is not there", "none", "http.conf:6: none: No such file or directory; no https"),
        ("has no key", "cert.pem", "cert.pem: no certificate with its key, in PEM"),
        ("has a key with a pass phrase", "cert.pem\ntlsprivatekey = locked.pem", "locked.pem: the key wants a pass phrase"))
    def test_serves_http_alone_where_the_certificate(self, tmp_path, monkeypatch, certificate, files, words):
        """Which file, from which line, and why; so does Asterisk (tcptls.c, __ssl_setup)."""
        monkeypatch.chdir(certificate.folder)
        status, printed, complained = self.check(tmp_path, "http.conf", self.TLS + files, "--port", "0")
        assert status == 1 and words in complained and ", http\n" in printed and "https" not in printed

    @rows("address, complains", ("at one address", "127.0.0.1:8200", True), ("one at every address", "0.0.0.0:8200", True),
          ("but not at two ports", "127.0.0.1:8201", False), ("nor at two addresses", "127.0.0.2:8200", False))
    def test_check_says_where_http_and_https_are_one(self, tmp_path, monkeypatch, certificate, address, complains):
        monkeypatch.chdir(certificate.folder)
        text = self.TLS + "cert.pem\ntlsprivatekey = key.pem\ntlsbindaddr = " + address
        status, _, complained = self.check(tmp_path, "http.conf", text)
        assert ("http and https cannot both listen on port 8200" in complained) == complains == bool(status)

    def test_prints_whatever_stands_in_a_configuration(self, tmp_path):
        """Where the output knows ASCII only, and without anything that would move a terminal."""
        (tmp_path / "ari.conf").write_bytes(b"[general]\nchannelvars = \xc3\xa4\x1b[2J\n[\xc3\xb6]\ntype = user\npassword = p\n")
        done = process("--check", "--config", str(tmp_path / "ari.conf"), "--prefix", "/\x1b[2J", stdout=subprocess.PIPE,
                       env={**os.environ, "PYTHONIOENCODING": "ascii"})
        assert done.returncode == 0 and b"\x1b" not in done.stdout and rb"channelvars = \xe4\x1b[2J" in done.stdout

    @rows("make", ("a pipe", os.mkfifo), ("a folder", os.mkdir),
          ("a file that is too large", lambda path: path.write_bytes(b";\n" * ari_ref.MAX_CONFIG_BYTES)))
    def test_is_not_held_up_by(self, tmp_path, make):
        """What is no configuration is refused at once, with its name."""
        make(tmp_path / "ari.conf")
        status, _, complained = run("--config", str(tmp_path / "ari.conf"))
        assert status == 1 and str(tmp_path / "ari.conf") in complained and len(complained.splitlines()) == 1

    def test_goes_without_an_output(self):
        """stdout that is closed: no traceback."""
        done = subprocess.run(["sh", "-c", 'exec "$0" "$@" >&-', sys.executable, program(), "--check", "--config", SAMPLE],
                              stderr=subprocess.PIPE)
        assert done.returncode == 0 and not done.stderr

    @rows("target, words", ("a pipe that is closed", "pipe", "Broken pipe"),
          ("a disk that is full", "/dev/full", "No space left on device"))
    def test_says_that_it_cannot_write_to(self, target, words):
        if target == "pipe":
            reader, writer = os.pipe()
            os.close(reader)
        elif os.path.exists(target):
            writer = os.open(target, os.O_WRONLY)
        else:
            pytest.skip("this system has no " + target)
        done = process("--operations", stdout=writer)
        os.close(writer)
        assert done.returncode == 1 and done.stderr.decode() == "ari_ref: %s\n" % words

    @rows("ignored", ("as a shell starts it", False), ("as nohup starts it", True))
    def test_ends_with_its_terminal(self, ignored):
        """SIGHUP with the terminal gone, unless nohup was asked for; else it reads the configuration again."""
        program()                       # before the fork, whose child is to do little
        pid, terminal = pty.fork()
        if not pid:
            signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
            os.execv(sys.executable, [sys.executable, program(), "--config", SAMPLE, "--port", "0"])
        url = b""
        while b"\n" not in url:
            url += os.read(terminal, 1000)
        os.kill(pid, signal.SIGHUP)
        assert get(url.decode().strip()) == 200
        os.close(terminal)
        if ignored:
            os.kill(pid, signal.SIGHUP)
            assert get(url.decode().strip()) == 200
            os.kill(pid, signal.SIGTERM)
        until(lambda: os.waitpid(pid, os.WNOHANG)[0])

    LOGGED = "[general]\nallowed_origins = http://a\n" + ASTERISK

    def test_goes_on_where_nobody_reads_its_warnings(self, tmp_path):
        """stderr is a full pipe: every request is answered, and SIGTERM ends it."""
        (tmp_path / "ari.conf").write_text(self.LOGGED)
        with serving("--config", str(tmp_path / "ari.conf"), "--log-level", "info") as (process, url):
            with Client(ServerUnderTest(url), "full") as client:
                for number in range(100):                   # 200 kB
                    assert client.get("/channels/" + "x" * 2000, headers={"Origin": "http://%d" % number}).status == 404
            process.terminate()
            assert process.wait(10) == 0

    def test_logs_what_an_author_needs(self, tmp_path):
        """Warnings in words, each once; a line per request with the reason of a refusal; no password, no control character."""
        (tmp_path / "ari.conf").write_text(self.LOGGED)
        secret, json, form = "asterisk:asterisk", "application/json", "application/x-www-form-urlencoded"
        with serving("--config", str(tmp_path / "ari.conf"), "--log-level", "debug") as (process, url):
            with Client(ServerUnderTest(url), "log") as client:
                client.get("/asterisk/ping?api_key=" + secret, auth=None, headers={"Origin": url[:-4]})     # a page of its own
                for method, target, kind, body in 2 * (
                        ("POST", "/channels?endpoint=PJSIP/alice&app=a", form, None),
                        ("POST", "/channels?endpoint=Local/200@nowhere&app=a", form, None),
                        ("POST", "/asterisk/variable?variable=NOSUCH(x)&value=1", form, None),
                        ("GET", "/asterisk/ping?Api%5FKey=" + secret, form, None), ("GET", "/x%C2%9B%E2%80%A8", form, None),
                        ("GET", "/x//%s@host" % secret, form, None), ("GET", "/x?y=%2f%2F" + secret + "@host", form, None),
                        ("POST", "/bridges", form, "type=mixing&api_key=" + secret),
                        ("POST", "/bridges", json, '{"api_key": ["x", "%s"], "name": "http:\\/\\/%s@h"}' % (secret, secret)),
                        ("POST", "/bridges", json, '{"Api\\u005fKey" : "%s\\"", "type": "mixing"}' % secret)):
                    origin = "http://%s@c" % secret if "@" in target else "http://b"
                    client.request(method, target, body=body, headers={"Origin": origin, "Content-Type": kind})
            process.terminate()
            lines = process.stderr.read().decode().splitlines()
        warnings = [line.partition(" WARNING ")[2] for line in lines if " WARNING " in line]
        for words in ("there is no endpoint PJSIP/...", "nobody is at Local/200@nowhere",
                      "the function in NOSUCH(x) does not exist", "the Origin http://b is not among allowed_origins"):
            assert sum(words in warning for warning in warnings) == 1
        assert not any("the Origin http://127.0.0.1" in warning for warning in warnings)
        assert any('POST /ari/channels?endpoint=PJSIP/alice&app=a 500 {"error": "Allocation failed"}' in line for line in lines)
        assert not [line for line in lines if secret in line or not line.isprintable()]


@in_process
class TestTls:
    """TLS behaves like TCP: what is said arrives, and whoever stops is not waited for for ever (RFC 8446 6.1)."""

    PING = CLOSING_PING.replace(b"Connection: close\r\n", b"")
    OVER_TLS_ONLY = pytest.mark.parametrize("serve", ["TLS"], indirect=True)

    @pytest.fixture(params=["TCP", "TLS"])
    def serve(self, request):
        """A function: (server, how to connect) with this http.conf."""
        is_tls = request.param == "TLS"
        certificate = request.getfixturevalue("certificate") if is_tls else None
        with contextlib.ExitStack() as stack:
            def serve(**options):
                settings, tls = ari_ref.HttpConfig(), certificate.server_context() if is_tls else None
                vars(settings).update(is_enabled=not is_tls, has_tls=is_tls, tls_address="127.0.0.1", tls_port=0, **options)
                server = ari_ref.Server(users={"asterisk": "asterisk"}, port=0, http_config=settings, tls=tls)
                stack.enter_context(little_buffered(server))
                connect = certificate.connect if is_tls else functools.partial(socket.create_connection, timeout=10)
                return server, functools.partial(connect, server.listeners[0].server_address)
            yield serve

    @rows("request_, answer",
        ("a ping", CLOSING_PING, b"HTTP/1.1 200 OK"),
        ("a head that is refused", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 400 Bad Request"),
        ("a body that is still sent", b"POST /ari/bridges HTTP/1.1\r\nContent-Type: application/json\r\n"
         b"Content-Length: 2000000\r\n\r\n" + b" " * 1_000_000, b"HTTP/1.1 413 Request Entity Too Large"))
    def test_answers_whole_and_says_close_notify_behind(self, serve, request_, answer):
        """The last answer arrives, and the end is one that nobody could have cut there."""
        _, connect = serve()
        for _ in range(5):
            with connect() as sock:
                sock.sendall(request_)
                head, _, body = rest(sock).partition(b"\r\n\r\n")           # an end without close_notify is an error here
            assert head.startswith(answer) and len(body) == int(re.search(rb"Content-Length: (\d+)", head).group(1))

    def test_has_no_time_for_who_would_need_a_thread(self, serve, monkeypatch):
        """Where no thread can be had, half a request is not waited for, so that the others are served."""
        server, connect = serve()
        def fails(thread):
            monkeypatch.undo()
            raise RuntimeError("can't start new thread")
        monkeypatch.setattr(threading.Thread, "start", fails)
        with connect() as sock:
            sock.sendall(self.PING[:-2])
            assert rest(sock).startswith(b"HTTP/1.1 400 Bad Request")
        with connect() as sock:
            sock.sendall(CLOSING_PING)
            assert sock.recv(15) == b"HTTP/1.1 200 OK"

    @OVER_TLS_ONLY
    def test_answers_who_has_ended_his_side(self, serve, monkeypatch):
        """Half a close: the answer comes behind the close_notify that follows its request, and then the server ends, too."""
        monkeypatch.setattr(ari_ref, "LINGER_SECONDS", 0.1)
        server, connect = serve()
        with connect() as sock:
            sock.sendall(self.PING)
            with refused("APPLICATION_DATA_AFTER_CLOSE_NOTIFY", ssl.SSLError):
                sock.unwrap()
            until(lambda: not server.sessions)

    @OVER_TLS_ONLY
    @rows("sent", ("nothing", b""), ("half of it", b"\x16\x03\x01\x02\x00\x01"), ("what is no TLS", b"GET / HTTP/1.1\r\n\r\n"))
    def test_a_handshake_that_stalls_ends_with_the_session(self, serve, monkeypatch, sent):
        """Within the session limit, and gone when its time is over."""
        monkeypatch.setattr(ari_ref, "FIRST_REQUEST_SECONDS", 0.1)
        server, _ = serve(keep_alive=0.1, inactivity=0.1)
        with socket.create_connection(server.listeners[0].server_address, timeout=10) as sock:
            sock.sendall(sent)
            with contextlib.suppress(ConnectionResetError):
                rest(sock)
        until(lambda: not server.sessions)

    def test_who_reads_nothing_costs_no_time_and_ends(self, serve, monkeypatch):
        """A client that asks and does not read: no busy thread, and the end when an answer has had its time (departure 9)."""
        monkeypatch.setattr(ari_ref, "TRANSFER_SECONDS", 0.4)
        monkeypatch.setattr(ari_ref, "LINGER_SECONDS", 0.1)
        server, connect = serve()
        with connect() as sock:
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                while True:
                    sock.send(self.PING * 100)
            before, start = time.process_time(), time.monotonic()
            until(lambda: not server.sessions)
            is_idle = time.process_time() - before < (time.monotonic() - start) / 2
        assert is_idle or not server.listeners[0].tls

    @OVER_TLS_ONLY
    def test_lets_listen_who_trusts_its_certificate(self, serve, certificate):
        """--listen with SSL_CERT_FILE; without it the reason, and nothing was asked."""
        server, _ = serve()
        command = ["--listen", "hello", "wss://asterisk:asterisk@localhost:%d/ari" % server.listeners[0].server_address[1]]
        done = process(*command)
        assert done.returncode == 1 and b"CERTIFICATE_VERIFY_FAILED" in done.stderr and not server.requests()
        trusting = {**os.environ, "SSL_CERT_FILE": certificate.path}
        with subprocess.Popen([sys.executable, program(), *command], env=trusting) as listening:
            server.wait_for_application("hello", 20)
            server.drop_events("hello", 1001)
            assert listening.wait(10) == 0

    def test_closes_unanswered_who_comes_beyond_the_limit(self, serve):
        """sessionlimit: the newest is closed, the older ones go on."""
        _, connect = serve(session_limit=1)
        with connect() as first:
            for _ in range(2):
                first.sendall(self.PING)
                assert first.recv(4096).startswith(b"HTTP/1.1 200")
                with contextlib.suppress(ssl.SSLError, ConnectionError), connect() as second:    # it may fail in its handshake
                    assert second.recv(100) == b""


@in_process
class TestLimits:
    """Whoever sends or asks for ever, or too much, is stopped, and the others go on. The constants are said to be others here."""

    POST = b"POST /ari/x HTTP/1.1\r\nContent-Type: application/json\r\n"
    CHUNKED = POST + b"Transfer-Encoding: chunked\r\n"

    def talk(self, server, *pieces, pause=0.0):
        """What comes back for pieces that are sent one after the other, until the end."""
        data = b""
        with socket.create_connection(server.listeners[0].server_address, timeout=10) as sock:
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                for piece in pieces:
                    sock.sendall(piece)
                    if pause and select.select([sock], [], [], pause)[0]:
                        break
                for more in iter(lambda: sock.recv(65536), b""):
                    data += more
        return data

    def test_bytes_that_wait_are_those_that_were_not_sent(self, monkeypatch):
        """Who reads may be sent more than may wait (MAX_QUEUED_BYTES)."""
        monkeypatch.setattr(ari_ref, "MAX_QUEUED_BYTES", 20_000)
        with hosting("reads") as (_, client):
            events = client.events()
            for number in range(40):
                expect(client.user_event("e%d" % number, json={"variables": {"text": "x" * 2000}}), status=204)
                events.expect("ChannelUserevent", eventname="e%d" % number)

    def test_states_of_a_telephone_that_may_be_waited_for(self, plain):
        """The newest are kept (MAX_REACHED)."""
        phone = plain.phone("PJSIP/alice", context="nowhere")
        reached = plain.stasis.endpoints["PJSIP/alice"].reached
        reached.extend((number, "Up") for number in range(150))
        assert [number for number, _ in reached] == list(range(50, 150)) and phone.show()["state"] == "NOT_INUSE"

    def test_the_end_of_a_connection_is_seen_at_once(self, plain, monkeypatch):
        """However long the server still reads (LINGER_SECONDS)."""
        monkeypatch.setattr(ari_ref, "LINGER_SECONDS", 60.0)
        assert self.talk(plain, b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1 404")

    def test_device_states_of_applications_that_are_gone(self, plain, monkeypatch):
        """Those that went last keep what they follow (MAX_IDLE_APPLICATIONS)."""
        monkeypatch.setattr(ari_ref, "MAX_IDLE_APPLICATIONS", 2)
        with Client(ServerUnderTest(plain.url, plain), "gone") as client:
            for name in "abc":
                events = client.events(name)
                expect(client.post("/applications/%s/subscription?eventSource=deviceState:%s" % (name, name)), status=200)
                events.close()
            client.events("d")
            for name, kept in (("a", []), ("b", ["b"]), ("c", ["c"])):
                client.events(name)
                expect(client.get("/applications/" + name), has={"device_names": kept})

    @rows("begin, line, most, more", ("a head", b"GET / HTTP/1.1\r\nConnection: close\r\n", b"x\r\n", b"404", b"413"),
          ("trailers", CHUNKED + b"Connection: close\r\n\r\n2\r\n{}\r\n0\r\n", b"a: b\r\n", b"401", b"400"))
    def test_lines_of(self, plain, begin, line, most, more):
        """As many as may be, and one more (MAX_HEAD_LINES)."""
        for count, status in ((ari_ref.MAX_HEAD_LINES - 1, most), (ari_ref.MAX_HEAD_LINES, more)):
            assert self.talk(plain, begin + line * count + b"\r\n").startswith(b"HTTP/1.1 " + status)

    @rows("begin, words", ("a head", b"GET / HTTP/1.1\r\n", b"<p>Timeout</p>"),
          ("a body", POST + b"Content-Length: 999\r\n\r\n", b"Connection: close"),
          ("chunks", CHUNKED + b"\r\n1\r\n", b"Connection: close"),
          ("trailers", CHUNKED + b"\r\n2\r\n{}\r\n0\r\n", b"Connection: close"),
          ("a body that nobody reads", b"POST /x HTTP/1.1\r\nContent-Length: 999\r\n\r\n", b"Connection: close"))
    def test_time_of(self, plain, monkeypatch, begin, words):
        """A byte each 50 ms for ever: it ends when the whole has had its time, however little silence there is (departure 9)."""
        monkeypatch.setattr(ari_ref, "HEAD_SECONDS" if b"Timeout" in words else "TRANSFER_SECONDS", 0.15)
        before = time.monotonic()
        assert words in self.talk(plain, begin, *[b"a"] * 40, pause=0.05) and time.monotonic() - before < 9

    def test_a_large_body_has_more_time(self, plain, monkeypatch):
        """A second more for each so many bytes (TRANSFER_RATE)."""
        monkeypatch.setattr(ari_ref, "TRANSFER_SECONDS", 0.1)
        monkeypatch.setattr(ari_ref, "TRANSFER_RATE", 500)
        sent = self.POST + b"Connection: close\r\nContent-Length: 2000\r\n\r\n"
        assert self.talk(plain, sent, b"{}" + b" " * 498, *[b" " * 500] * 3, pause=0.05).startswith(b"HTTP/1.1 401")

    def test_others_are_served_while_many_drip(self, plain):
        """40 connections that send a byte now and then, and 1,000 lines before: nobody waits for them."""
        times = []
        with contextlib.ExitStack() as stack:
            drips = [stack.enter_context(socket.create_connection(plain.listeners[0].server_address)) for _ in range(40)]
            for number in range(20):
                for sock in drips:
                    sock.sendall(b"x" if number else b"GET / HTTP/1.1\r\n" + b"x\r\n" * 900)
                before = time.monotonic()
                assert get(plain.ari_url) == 200
                times.append(time.monotonic() - before)
        assert sorted(times)[10] < 1

    def test_bytes_of_a_configuration(self, tmp_path):
        """A file of 1 MiB is read, one of a byte more is not (MAX_CONFIG_BYTES)."""
        good = (USER.encode() + (b";" * 1023 + b"\n") * 1024)[:ari_ref.MAX_CONFIG_BYTES]
        assert read_config(tmp_path, good).users
        with pytest.raises(OSError, match="larger than 1048576 bytes"):
            read_config(tmp_path, good + b"\n")

    @rows("limit, value, text, size, words",
        ("as many files", "MAX_CONFIG_FILES", 3, "#include b.inc\n" * 3, 0, ""),
        ("a file more", "MAX_CONFIG_FILES", 3, "#include b.inc\n" * 4, 0, "ari.conf:7: more than 3 files"),
        ("as many bytes", "MAX_INCLUDED_BYTES", 100, "#include *.inc\n", 40, ""),
        ("a byte more", "MAX_INCLUDED_BYTES", 100, "#include *.inc\n", 41, "b.inc cannot be included: larger than 40 bytes"),
        ("a pipe", "MAX_INCLUDED_BYTES", 100, "#include pipe\n", 0, "ari.conf:4: .*pipe cannot be included: not a plain file"))
    def test_what_a_configuration_includes(self, tmp_path, monkeypatch, limit, value, text, size, words):
        """In all, and before more is read; also files that include each other end."""
        monkeypatch.setattr(ari_ref, limit, value)
        (tmp_path / "a.inc").write_text("\n" * 60)
        (tmp_path / "b.inc").write_text("\n" * size)
        os.mkfifo(str(tmp_path / "pipe"))
        with refused(words):
            assert read_config(tmp_path, USER + text).users

    @rows("steps, text",
        ("templates of templates", 20_000,
         "[t0](!)\na = b\n" + "".join("[t%d](!,t%d,t%d)\n" % (at, at - 1, at - 1) for at in range(1, 40))),
        ("many += of one option", 20_000, "[general]\nx = y\n" + "x += y\n" * 12_000),
        ("many += among options", 20_000, "[general]\n" + "x = y\n" * 1000 + "x += y\n" * 10_000),
        ("sections among templates", 20_000, "[a](!)\n" * 5000 + "[a]\n" + "[a](+)\n" * 5000),
        ("many bytes that are inherited", 2_000_000, "[t](!)\n" + ("password = " + "x" * 8000 + "\n") * 100 + "[u](t)\n" * 1000))
    def test_steps_of_a_configuration(self, monkeypatch, steps, text):
        """However its lines refer to each other, it is read in seconds or refused (MAX_CONFIG_STEPS)."""
        assert ari_ref.MAX_CONFIG_STEPS == 2_000_000
        monkeypatch.setattr(ari_ref, "MAX_CONFIG_STEPS", steps)
        with refused(r"ari.conf:\d+: the configuration takes more than %d steps" % steps):
            ari_ref.parse_config(text.encode())

    def test_blanks_of_a_configuration(self):
        """A name of 8,000 blanks costs no more than another line."""
        before = time.monotonic()
        with refused("unknown option"):
            ari_ref.parse_config(("[general]\n" + ("a" + " " * 8000 + "b = c\n") * 120).encode())
        assert time.monotonic() - before < 10

    def test_text_of_a_dialplan(self):
        """What is not UTF-8 is told and passed over, as a global that has grown too long."""
        config = ari_ref.parse_extensions(
            b"[globals]\nA = " + b"x" * 8000 + b"\nB = ${A}${A}\nC = \xe9\n[c]\nexten => 1,1,Set(X=\xe9)\n")
        assert list(config.globals) == ["A"] and not config.contexts["c"].extensions
        assert [warning.partition(":")[2] for warning in config.warnings] == [
            "3: a global over 8191 characters, ignored", "4: not UTF-8, ignored", "6: not UTF-8, ignored"]

    def test_includes_and_patterns_of_a_dialplan(self):
        """Contexts that include each other, twice, and in a chain of 5,000; a pattern of many dots: found, or not, at once."""
        names = ["c%d" % number for number in range(12)]
        text = "".join("[%s]\n" % name + "".join("include => %s\n" % other for other in names) for name in names)
        text += "".join("[d%d]\ninclude => d%d\ninclude => d%d\n" % (number, number + 1, number + 1) for number in range(5000))
        config = ari_ref.parse_extensions((text + "[d5000]\nexten => _X..........X,1,NoOp()\n").encode())
        assert config.step("d0", "1" * 60 + "x", 1) == ("NoOp", "")
        assert config.step("c0", "1", 1) is None and config.step("d0", "x", 1) is None

    def test_a_large_dialplan_that_goes_round(self):
        """25,000 extensions, and 1,000 steps among them: a plain name is not looked for among the others."""
        text = "[c]\n" + "".join("exten => x%d,1,NoOp()\n" % at for at in range(25_000))
        text += "exten => 1,1,NoOp()\n same => n,Goto(1)\n"
        stasis = stasis_with("demo")
        stasis.dialplan, before = ari_ref.parse_extensions(text.encode()), time.monotonic()
        ari_ref.originate(ari_ref.new_pair(stasis, "1@c", "near", "far"), "", None, {}, "demo", "", None, 30)
        assert not stasis.channels and time.monotonic() - before < 10

    def test_expressions_of_a_dialplan(self):
        """What a client has put into a variable costs nothing: long texts and deep nesting stay as they are."""
        channel, before = originate(stasis_with("demo")), time.monotonic()
        for value in ("1" * 40_000, "|" * 40_000, "1+" * 20_000):
            channel.set_variable("X", value)
            assert ari_ref.substitute(channel, "$[${X}]") == value
        assert ari_ref.substitute(channel, "${" * 2000 + "}" * 2000) is not None and ari_ref.evaluate("1+" * 190 + "1") == "191"
        assert time.monotonic() - before < 10

    def test_lines_of_the_log(self, monkeypatch):
        """Bounded in characters while nobody reads; a line that cannot be written is lost, and the next is not."""
        class Full(io.StringIO):
            fails = True
            def write(self, text):
                if self.fails and text.strip():
                    raise OSError(28, "No space left on device")
                return super().write(text)
        monkeypatch.setattr(sys, "stderr", Full())
        monkeypatch.setattr(ari_ref, "MAX_LOG_CHARS", 1000)
        handler = ari_ref.LogHandler()
        def log(text):
            handler.emit(logging.LogRecord("x", logging.INFO, "", 0, text, (), None))
        for text, sys.stderr.fails in (("lost", True), ("kept", False)):
            log(text)
            assert handler.is_written.wait(10)
        assert sys.stderr.getvalue() == "kept\n"
        monkeypatch.setattr(handler, "is_new", threading.Event())       # nobody writes any more
        for _ in range(10):
            log("x" * 400)
        assert sum(map(len, handler.lines)) == 1200

    @rows("count", ("not one", 0), ("but one", 1), ("but two", 2))
    def test_a_server_that_gets_no_threads(self, monkeypatch, count):
        """RuntimeError, and nothing of it stays."""
        server, start, started = ari_ref.Server(users={"a": "b"}, port=0), threading.Thread.start, []
        def refuse(thread):
            if len(started) == count:
                raise RuntimeError("can't start new thread")
            started.append(thread)
            start(thread)
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            server.start()
        for thread in started:
            thread.join(10)
        assert server.is_closing and not any(thread.is_alive() for thread in started)
        assert [listener.socket.fileno() for listener in server.listeners] == [-1]

    def test_the_only_connection_where_no_thread_can_be_had(self, plain, monkeypatch):
        """It is served on; what may take a minute is refused, so that nobody else waits for it."""
        def start(thread):
            raise RuntimeError("can't start new thread")
        monkeypatch.setattr(threading.Thread, "start", start)
        plain.http.has_control = True
        head = "GET %s HTTP/1.1\r\nAuthorization: " + basic("asterisk:asterisk") + "\r\n\r\n"
        plain.delay("GET", "/channels", seconds=60)
        with socket.create_connection(plain.listeners[0].server_address, 10) as sock:
            for path, status in (("/ari/bridges", 200), ("/control/requests?wait=60&count=9", 500), ("/ari/channels", 500),
                                 ("/ari/bridges", 200)):
                sock.sendall((head % path).encode())
                assert sock.recv(1000).startswith(b"HTTP/1.1 %d" % status)

    def test_threads_that_cannot_be_had(self, monkeypatch, caplog):
        """An event socket that would need one ends, external media is refused, and everybody else is served on."""
        patient = ari_ref.read_config("[general]\nwebsocket_write_timeout = 10000\n" + ASTERISK)
        with hosting("thin", config=patient) as (server, client), Client(client.server, "other") as other:
            slow, quick = client.events(receive_buffer_bytes=4096), other.events()
            media = "/channels/externalMedia?app=%s&external_host=127.0.0.1:9&format=ulaw" % other.app
            assert client.get("/bridges").status == other.get("/bridges").status == 200         # on connections that stay
            def start(thread):
                raise RuntimeError("can't start new thread")
            monkeypatch.setattr(threading.Thread, "start", start)
            big = {"variables": {"filling": "x" * 40000}}
            assert any(client.user_event("n", json=big).status == 404 for _ in range(999))
            expect(other.post(media), **ALLOCATION_FAILED)
            other.user_event("x")
            quick.expect("ChannelUserevent", eventname="x")
            monkeypatch.undo()
            assert slow.connection.drain() is not None
            expect(other.post(media), status=200)
        assert not [record for record in caplog.records if record.exc_info]

    def test_a_fault_of_a_timer_stops_no_other(self, plain, monkeypatch):
        """The thread of timers goes on whatever happens in it."""
        monkeypatch.setattr(plain, "pass_on", lambda: 1 / 0)
        plain.due_earlier.set()
        threading.Event().wait(0.05)
        monkeypatch.undo()
        done = threading.Event()
        plain.change(lambda stasis: ari_ref.Timer(stasis).set(0.01, done.set))
        assert done.wait(10)

    def test_memory_of_external_media(self):
        """The newest frames stay, by number and by bytes."""
        recent = ari_ref.Recent(1000)
        for size in (600, 300, 200, 900):
            recent.add(bytes(size))
        assert [len(frame) for frame in recent.frames] == [900] and recent.size == 900
        for _ in range(ari_ref.KEPT_FRAMES + 5):
            recent.add(b"")
        assert len(recent.frames) == ari_ref.KEPT_FRAMES

    @rows("limit, value, words", ("as many as may be", "MAX_RTP_LINES", 2, "] there is no more external media"),
          ("as many as there are ports", "RTP_PORTS", range(20000, 20004, 2), "no port is free"))
    def test_external_media(self, monkeypatch, limit, value, words):
        """Refused beyond, and behind the end of the server; no socket stays open."""
        monkeypatch.setattr(ari_ref, limit, value)
        with ari_ref.Server(users={"a": "b"}, port=0) as server:
            lines = [server.rtp.open("127.0.0.1:9", "ulaw") for _ in range(2)]
            with pytest.raises(OSError, match=words):
                server.rtp.open("127.0.0.1:9", "ulaw")
        with pytest.raises(OSError):
            server.rtp.open("127.0.0.1:9", "ulaw")
        assert [line.sock.fileno() for line in lines] == [-1, -1]

    def test_numbers_of_an_item(self):
        """A range of groups is not counted out, and a word of 5,000 digits is no number."""
        assert ari_ref.group_numbers("61-999999999") == "61, 62, 63" and ari_ref.group_numbers("9" * 5000) == ""
        assert ari_ref.REASON.convert("9" * 5000) == "9" * 5000 and ari_ref.REASON.convert("3") == "unavailable"

    def test_applications_that_nobody_hears(self, monkeypatch):
        """Those that follow everything stay when their socket goes, but only the newest (MAX_IDLE_APPLICATIONS)."""
        monkeypatch.setattr(ari_ref, "MAX_IDLE_APPLICATIONS", 3)
        stasis = stasis_with("heard")
        for number in range(5):
            hearer = Hearer()
            stasis.open_applications(hearer, ["a%d" % number], True)
            stasis.close_applications(hearer)
            assert len(stasis.applications) == 1 + min(number + 1, 3)
        assert list(stasis.applications) == ["heard", "a2", "a3", "a4"] and len(stasis.device_names_of_gone) == 2

    def test_timers_that_were_taken_back(self):
        """They do not stay until they were due, in years perhaps (LEAST_SWEEP)."""
        stasis = stasis_with()
        ari_ref.Timer(stasis).set(5, lambda: None)
        for _ in range(10 * ari_ref.LEAST_SWEEP):
            timer = ari_ref.Timer(stasis)
            timer.set(2**31, lambda: None)
            timer.cancel()
            assert len(stasis.timers) <= ari_ref.LEAST_SWEEP
        assert stasis.next_due() == 1005.0

    @rows("method, target, room",
        ("channels", "POST", "/channels?endpoint=Local/1@stasis-{app}&app={app}", 2),
        ("created channels", "POST", "/channels/create?endpoint=Local/1@stasis-{app}&app={app}", 2),
        ("external media", "POST", "/channels/externalMedia?app={app}&external_host=127.0.0.1:9&format=ulaw", 3),
        ("bridges", "POST", "/bridges", 3), ("global variables", "POST", "/asterisk/variable?variable=v{n}&value=1", 3),
        ("devices", "PUT", "/deviceStates/Stasis:d{n}?deviceState=BUSY", 3),
        ("mailboxes", "PUT", "/mailboxes/m{n}?oldMessages=1&newMessages=1", 3),
        ("objects", "PUT", "/asterisk/config/dynamic/res_mwi_external/mailboxes/o{n}", 3),
        ("log channels", "POST", "/asterisk/logging/l{n}?configuration=error", 3),
        ("followed devices", "POST", "/applications/{app}/subscription?eventSource=deviceState:d{n}", 3))
    def test_things_of_a_kind(self, monkeypatch, method, target, room):
        """As many as there is room for are made, the next one is refused (MAX_KEPT)."""
        monkeypatch.setattr(ari_ref, "MAX_KEPT", 3)
        with hosting() as (_, client):
            client.events()
            body = {"json": {"fields": []}} if "config" in target else {}
            statuses = [client.request(method, target.format(app=client.app, n=n), **body).status for n in range(room + 1)]
        assert set(statuses[:room]) <= {200, 204} and statuses[room] == 500

    @rows("kept, words", ("one less than there is room for", 3, ""), ("as many as there is room for", 2, "."))
    def test_recordings(self, monkeypatch, kept, words):
        """A new one, and a copy: 500 beyond (MAX_KEPT)."""
        stasis = stasis_with(recordings=ari_ref.Recordings({"a": {"wav": 0.0}, "b": {"wav": 0.0}}))
        monkeypatch.setattr(ari_ref, "MAX_KEPT", kept)
        for action in (lambda: ari_ref.check_recording_name(stasis, "c", "fail"),
                       lambda: ari_ref.recording_copy_stored(stasis, ari_ref.stored_recording(stasis, "a"), "c")):
            with refused(words, ari_ref.AriError) as caught:
                action()
            assert not words or caught.value.status == 500
            stasis.recordings.forget("c")

    def test_variables_of_a_channel(self, monkeypatch):
        """A new one is refused, unsetting one is not (MAX_KEPT)."""
        far = originate(stasis_with("demo")).far_leg
        monkeypatch.setattr(ari_ref, "MAX_KEPT", 3)
        while len(far.variables) < 3:
            ari_ref.channel_set_channel_var(far, "V%d" % len(far.variables), "1")
        with pytest.raises(ari_ref.AriError):
            ari_ref.channel_set_channel_var(far, "W", "1")
        ari_ref.channel_set_channel_var(far, "V2", None)
        assert len(far.variables) == 2

    def test_what_waits_for_a_channel(self, monkeypatch):
        """Commands behind a tone (MAX_KEPT)."""
        stasis = stasis_with("demo")
        far = originate(stasis).far_leg
        far.answer()
        monkeypatch.setattr(ari_ref, "MAX_KEPT", 3)
        for _ in range(4):
            ari_ref.controlled(stasis, "far").queue.add(ari_ref.Playback(far, None, ["tone:ring"], "en", 0, 0))
        with pytest.raises(ari_ref.AriError):
            ari_ref.controlled(stasis, "far")

    def test_names_that_are_gone(self, monkeypatch):
        """Of recordings: their changes are forgotten when there are too many. Of telephones: no more of them than ever were."""
        monkeypatch.setattr(ari_ref, "MAX_KEPT", 3)
        store = ari_ref.Recordings({"stays": {"wav": 1.0}})
        for number in range(10):
            store.begin("r%d" % number, "wav", False)
            store.forget("r%d" % number)
        assert len(store.changes) <= 4
        stasis = stasis_with("demo")
        for number in range(3):
            ari_ref.put_phone(stasis, "PJSIP", "p%d" % number, {})
            ari_ref.move_phone(stasis, "PJSIP", "p%d" % number, "delete", {})
        with pytest.raises(ari_ref.AriError):
            ari_ref.put_phone(stasis, "PJSIP", "p3", {})
        assert not stasis.endpoints

    def test_no_file_descriptors(self, monkeypatch, caplog):
        """The accepting thread waits, says so once, and goes on when there are some."""
        tries, accept = [], socketserver.TCPServer.get_request
        def out_of_files(listener):
            tries.append(1)
            if len(tries) < 4:
                raise OSError(errno.EMFILE, "Too many open files")
            return accept(listener)
        monkeypatch.setattr(socketserver.TCPServer, "get_request", out_of_files)
        monkeypatch.setattr(ari_ref, "LOOK_SECONDS", 0.05)
        before = time.monotonic()
        with ari_ref.Server(users={"asterisk": "asterisk"}, port=0) as server:
            assert get(server.ari_url) == 200
        assert len(tries) >= 4 and time.monotonic() - before > 0.15
        assert [record.getMessage() for record in caplog.records] == ["no connection can be accepted now: Too many open files"]

    def test_warnings_that_are_told(self, monkeypatch, caplog):
        """Each once, no longer than so much, as long as it is among the last so many (MAX_TOLD_CHARS, MAX_TOLD)."""
        monkeypatch.setattr(ari_ref, "MAX_TOLD", 2)
        monkeypatch.setattr(ari_ref, "MAX_TOLD_CHARS", 3)
        with hosting() as (server, _):
            for text in ("a", "a", "bbbb", "bbbc", "c", "a"):
                server.warn(text)
        assert [record.getMessage() for record in caplog.records] == ["a", "bbb", "c", "a"]


@in_process
class TestServer:
    """The server as a library."""

    def test_nothing_stays_when_it_is_closed(self):
        """No thread and no listening socket after the block, whatever was open."""
        before = threading.active_count()
        with ari_ref.Server(users={"asterisk": "asterisk"}, port=0) as server:
            address = server.listeners[0].server_address
            idle = socket.create_connection(address)
            assert get(server.ari_url) == 200
        until(lambda: threading.active_count() <= before)
        idle.close()
        with pytest.raises(OSError):
            socket.create_connection(address).close()

    @rows("sent, answer", ("behind an answer in silence", b"GET / HTTP/1.1\r\n\r\n", b"</html>\r\n"),
          ("inside a head with 400", b"GET /ari", b"Timeout"),
          ("inside a body with that of JSON", TestLimits.POST + b"Content-Length: 9\r\n\r\n{", b"Error parsing request body"))
    def test_an_idle_connection_is_closed(self, sent, answer):
        """session_keep_alive, session_inactivity."""
        http = ari_ref.HttpConfig()
        http.keep_alive = http.inactivity = 0.1
        with ari_ref.Server(users={"a": "b"}, port=0, http_config=http) as server:
            with socket.create_connection(server.listeners[0].server_address, timeout=10) as sock:
                sock.sendall(sent)
                data = rest(sock)
        assert answer in data and data.count(b"HTTP/1.1 ") == 1

    def test_what_hangs_together_may_be_deep(self, half_a_stack):
        """Audio and digits pass through a chain of 175 pairs and bridges."""
        config = ari_ref.read_config("[general]\nwebsocket_write_timeout = 10000\n" + ASTERISK)
        with hosting("deep", config=config) as (_, client):
            events = client.events()
            for number in range(175):
                query = {"endpoint": "Local/1@stasis-deep-app", "app": "deep-app", "otherChannelId": "far-%d" % number}
                expect(client.post("/channels/near-%d" % number, query), status=200)
                expect(client.post("/channels/far-%d/answer" % number), status=204)
                if number:
                    add(client, client.bridge(str(number)), "near-%d" % (number - 1), "far-%d" % number)
            record(client, "/channels/near-174", maxDurationSeconds=1)
            expect(client.post("/channels/far-0/silence"), status=204)
            expect(client.post("/channels/far-0/dtmf", {"dtmf": "5"}), status=204)
            client.hasten(2)
            events.expect("ChannelDtmfReceived", channel="near-174", digit="5")
            events.expect("RecordingFinished", recording={"name": "deep-r", "duration": 1})
            expect(client.delete("/channels/near-0"), status=204)
            events.expect("ChannelDestroyed", channel="far-0")

    def test_is_started_once(self):
        """Not again behind its end, which is said; it may end before it was started."""
        server = ari_ref.Server(users={"a": "b"}, port=0)
        server.close()
        with pytest.raises(RuntimeError, match="closed"):
            server.start()

    def test_needs_no_thread_for_who_is_silent(self, plain):
        """Between requests, before the first one and behind the last: one thread waits for all, and serves what comes."""
        with contextlib.ExitStack() as stack:
            idle = [stack.enter_context(socket.create_connection(plain.listeners[0].server_address)) for _ in range(30)]
            before = threading.active_count()
            for _ in range(2):
                for sock in idle[10:]:
                    sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
                    assert sock.recv(1000).startswith(b"HTTP/1.1 404")
            assert len(plain.sessions) == 30 and threading.active_count() <= before

    @rows("sent", ("half a head", b"GET / HTTP"), ("half a body", TestLimits.POST + b"Content-Length: 9\r\n\r\n{"),
          ("what reads no answer", b"GET /ari/api-docs/channels.json?api_key=asterisk:asterisk HTTP/1.1\r\n\r\n" * 500))
    def test_serves_others_while_it_waits_for_a_client(self, plain, sent):
        """Whoever it waits for, and however many; their threads are needed no longer when they have gone."""
        before = threading.active_count()
        with contextlib.ExitStack() as stack:
            for _ in range(8):
                sock = stack.enter_context(socket.create_connection(plain.listeners[0].server_address))
                sock.sendall(sent)
                assert get(plain.ari_url) == 200
        until(lambda: threading.active_count() <= before + ari_ref.MAX_SPARES)
        assert get(plain.ari_url) == 200

    @rows("first, again", ("requests without end", b"GET / HT", b"TP/1.1\r\n\r\nGET / HT"),
          ("an endless body", b"POST / HTTP/1.1\r\nContent-Length: 2000000000\r\n\r\n", b"x" * 100),
          ("frames without end", b"GET /ari/events?app=a&api_key=asterisk:asterisk HTTP/1.1\r\nUpgrade: websocket\r\n"
           b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n", b"\x8a\x80" + bytes(4)))
    def test_serves_others_while_a_client_never_pauses(self, plain, monkeypatch, first, again):
        """However quickly it sends, and reads: here as soon as somebody looks."""
        endless, is_over = [], threading.Event()
        receive, write_all, wait = ari_ref.Stream.receive, ari_ref.Stream.write_all, ari_ref.Stream.wait
        def receive_endlessly(stream, flags):
            if stream in endless and is_over.is_set():
                raise ari_ref.Gone
            data = again if stream in endless else receive(stream, flags)
            endless.extend([stream] * (data == first))
            return data
        monkeypatch.setattr(ari_ref.Stream, "receive", receive_endlessly)
        monkeypatch.setattr(ari_ref.Stream, "write_all", lambda stream, *given: stream in endless or write_all(stream, *given))
        monkeypatch.setattr(ari_ref.Stream, "wait", lambda stream, *given: stream in endless or wait(stream, *given))
        with socket.create_connection(plain.listeners[0].server_address) as sock:
            sock.sendall(first)
            try:
                until(lambda: endless)
                assert [get(plain.ari_url) for _ in range(3)] == [200] * 3
            finally:
                is_over.set()

    def test_looks_for_a_moment_before_it_waits(self, monkeypatch):
        """For who asks again at once; then it waits as long as it takes (BUSY_SECONDS)."""
        flags = []
        def receive(flag):
            flags.append(flag)
            if len(flags) < 4 and flag:
                raise BlockingIOError
            return b"x"
        with socket.socket() as sock:
            stream = ari_ref.Stream(sock, lambda: flags.append("gave way") or True)
            monkeypatch.setattr(stream, "receive", receive)
            for seconds, looks in ((10.0, 3 * [socket.MSG_DONTWAIT]), (0.0, [socket.MSG_DONTWAIT, 0])):
                monkeypatch.setattr(ari_ref, "BUSY_SECONDS", seconds)
                flags.clear()
                assert stream.read(0) == b"x" and flags == ["gave way", *looks]

    @rows("long, sent", ("of more than so many members (LONG_LIST)", 1, b"GET /ari/bridges?api_key=asterisk:asterisk HTTP/1.1\r\n\r\n"),
          ("to what came with another request", 2, b"GET / HTTP/1.1\r\n\r\nGET /ari/bridges?api_key=asterisk:asterisk HTTP/1.1\r\n\r\n"))
    def test_serves_others_while_it_makes_an_answer(self, plain, monkeypatch, long, sent):
        monkeypatch.setattr(ari_ref, "LONG_LIST", long)
        assert [get(plain.ari_url, path="/bridges", method="POST") for _ in range(2)] == [200] * 2
        with socket.create_connection(plain.listeners[0].server_address) as sock, held_up(
                monkeypatch, ari_ref.Response, "to_bytes", lambda response, *_: isinstance(response.value, list)) as begun:
            sock.sendall(sent)
            assert begun.wait(10) and get(plain.ari_url) == 200

    def test_an_application_is_heard_by_nobody_after_a_fault(self, monkeypatch, caplog):
        """Of the module itself, in an event socket."""
        with hosting("fault") as (server, client):
            events = client.events()
            monkeypatch.setattr(ari_ref.FrameParser, "receive", lambda parser, data: 1 / 0)
            events.send(PING, b"")
            until(lambda: server.change(lambda stasis: not stasis.active_application(client.app)))
            assert not server.event_sockets
        assert "ZeroDivisionError" in caplog.text

    @rows("moment", ("before it looks for the last time", "close"), ("behind that", "shutdown"))
    def test_closes_what_comes_while_it_closes(self, moment):
        """A connection that was being accepted, with a request: without an answer."""
        server = ari_ref.Server(users={"asterisk": "asterisk"}, port=0)
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as far:
            near, address = listener.accept()
            far.sendall(b"GET / HTTP/1.1\r\n\r\n")
            part = {"close": server.rtp, "shutdown": server.worker}[moment]
            setattr(part, moment, lambda **_: server.listeners[0].process_request(near, address))
            server.start()
            server.close()
            assert rest(far) == b"" and near.fileno() == -1 and not server.sessions

    def test_a_connection_that_cannot_be_watched(self, plain, monkeypatch, caplog):
        """The kernel has its limits, too: it is closed, which is said, and nothing of it stays."""
        def register(*given):
            raise OSError(errno.ENOSPC, "No space left on device")
        with socket.create_connection(plain.listeners[0].server_address, 10) as first:
            until(lambda: len(plain.crew.selector.get_map()) == 2)
            monkeypatch.setattr(plain.crew.selector, "register", register)
            with socket.create_connection(plain.listeners[0].server_address, 10) as second:
                assert second.recv(1) == b"" and len(plain.sessions) == 1
            first.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert first.recv(1000).startswith(b"HTTP/1.1 404")
        assert "a connection cannot be kept: [Errno %d] No space left on device" % errno.ENOSPC in caplog.messages

    def test_is_forgotten_when_it_is_closed(self):
        """Whatever it has answered: nothing of the module keeps it."""
        with hosting() as (server, client):
            expect(client.get("/bridges"), status=200)
            kept = weakref.ref(server)
        del server, client
        def is_forgotten():
            gc.collect()
            return kept() is None
        until(is_forgotten)             # its threads may be ending still

    def test_serves_others_while_it_hashes(self, monkeypatch):
        """crypt(3) takes its time; also of two servers that share a configuration."""
        config = ari_ref.read_config(CONFIGURATION.format(pretty="no"))
        with hosting(config=config) as (server, _), hosting(config=config), socket.create_connection(
                server.listeners[0].server_address) as sock, held_up(monkeypatch, ari_ref, "hash_password") as begun:
            sock.sendall(b"GET /ari/bridges?api_key=crypted:wrong HTTP/1.1\r\n\r\n")
            assert begun.wait(10) and get(server.ari_url) == 200

    def test_who_leads_may_look_late(self, plain, monkeypatch):
        """A request that came in time is answered, although nobody looked until it would have been too late."""
        address, request = plain.listeners[0].server_address, b"GET / HTTP/1.1\r\n\r\n"
        with socket.create_connection(address, 10) as idle, socket.create_connection(address) as other:
            until(lambda: len(plain.crew.selector.get_map()) == 3)
            with held_up(monkeypatch, ari_ref.Response, "to_bytes") as begun:
                other.sendall(request)
                assert begun.wait(10)
                idle.sendall(request)
                for connection in plain.sessions.values():
                    connection.expires = plain.crew.next_look = 0.0
            assert idle.recv(1000).startswith(b"HTTP/1.1 404")

    def test_says_the_same_of_a_request_that_comes_again(self):
        """What is remembered of a request is not changed by what the model does with it."""
        variables, allowed = {"a": {"b": [1]}}, [{"type": "ChannelUserevent", "x": [{}]}]
        with hosting("again") as (_, client):
            events = client.events()
            for _ in range(3):
                expect(client.put("/applications/%s/eventFilter" % client.app, json={"allowed": allowed}), has={"events_allowed": allowed})
                expect(client.user_event("x", json={"variables": variables}), status=204)
                assert events.expect("ChannelUserevent")["userevent"] == {**variables, "eventname": "x"}

    def test_closes_at_once_whatever_it_was_doing(self, plain):
        """With connections open: nobody waits for the next look of a polling thread."""
        with socket.create_connection(plain.listeners[0].server_address) as idle:
            idle.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert idle.recv(100).startswith(b"HTTP/1.1 404")
            before = time.monotonic()
            plain.close()
            assert time.monotonic() - before < ari_ref.LOOK_SECONDS / 2 or sys.platform != "linux"

    @pytest.fixture
    def outbox(self):
        """A function: an outbox with this write timeout, and the other end of its socket."""
        near, far = socket.socketpair()
        far.settimeout(10)
        def outbox(seconds):
            outbox = ari_ref.Outbox(ari_ref.Stream(near), seconds)
            outbox.open()
            return outbox, far
        with near, far:
            yield outbox

    @rows("frames, size", ("in frames", 30_000, 10), ("in bytes", 500, 60_000))
    def test_a_full_outbox_ends_its_socket(self, outbox, frames, size):
        """However patient its writer is, the peer gets what was sent, in order, and then the end (departure 7)."""
        (full, far), sent = outbox(3600.0), []
        while len(sent) < frames and not full.is_broken:
            sent.append(b"%08d" % len(sent) + bytes(size))
            full.put(sent[-1])
            full.flush()
        got = rest(far)
        assert full.is_broken and full.is_late and got and b"".join(sent).startswith(got)

    def test_a_peer_that_has_gone_is_not_called_late(self, outbox):
        """Its socket ends as well, but nobody is told that it did not take its events."""
        lost, far = outbox(1.0)
        far.close()
        lost.put(b"x")
        lost.flush()
        assert lost.is_broken and not lost.is_late

    def test_a_slow_reader_of_large_frames_is_not_cut_off(self, outbox):
        """Whoever takes each frame in time stays, though the kernel wakes a writer only when much of its buffer is free."""
        (slow, far), left = outbox(0.5), 300_000
        for _ in range(15):             # half as much again as the kernel takes at once
            slow.put(bytes(20_000))
        slow.flush()
        while left and not slow.is_broken:
            left -= len(far.recv(min(left, 10_000)))
            time.sleep(0.04)
        assert not left and not slow.is_broken


class Hosted:
    """Cases about the module in this process, whose time is moved by hand: `ari` finds /control, `bench` is the server itself.

    In text: the telephones {alice} and {bob} below /control, whose calls go to the application; {call}, the channel of alice's."""

    @pytest.fixture
    def ari(self):
        with hosting("own", control=True, clock="manual") as (_, client):
            yield client

    @pytest.fixture
    def bench(self, ari):
        return ari.server.module

    @pytest.fixture
    def phones(self, ari):
        names = {name: "/control/phones/PJSIP/" + name for name in ("alice", "bob")}
        for (name, path), number in zip(names.items(), (100, 200)):
            expect(ari.put(path, {"context": ari.context, "callerId": "%s <%d>" % (name.title(), number)}), status=200)
        return types.SimpleNamespace(names=names)

    @pytest.fixture
    def call(self, ari, events, phones):
        channel = expect(ari.post(phones.names["alice"] + "/call?extension=700"), status=200).json["channel_id"]
        events.expect("StasisStart", channel=channel)
        return channel


@in_process
@script("""
    lets requests fail So many times, by method and path, and nothing is done; then all is as it was
        POST /control/faults?method=POST&path=/bridges/*&status=503&message=busy&times=2 -> 200
        POST /bridges/$b -> 503 "busy"
        POST /bridges/$b -> 503 "busy"
        GET /bridges -> 200 = []
        GET /control/faults -> 200 = []
        POST /bridges/$b -> 200
        POST /control/faults?path=/bridges&status=501 -> 200 {"status": 501}
        GET /bridges -> 501 "Injected"
        GET /control/faults -> 200 [{"status": 501}]
        DELETE /control/faults -> 204
        GET /bridges -> 200
    lets a part of a path hold a slash %2F is none that parts it
        POST /control/faults?path=/channels/*/answer&times=1&status=500 -> 200
        POST /channels/PJSIP%2Fa/answer -> 500 "Injected"
        GET /control/requests?method=post&path=/channels/*/answer -> 200 [{"path": "/channels/PJSIP/a/answer", "status": 500}]
    gives no body to an answer that has none
        POST /control/faults?path=/bridges&status=%1&message=x -> 200
        GET /bridges -> %1 %2 empty
        | 204 | 204 | No Content || 205 | 205 | Reset Content || 304 | 304 | Not Modified
    refuses 400, 404 and 405, and nothing has changed
        %2 /control/%1 -> %3
        GET /control/faults -> 200 = []
        GET /control/clock -> 200 {"speed": 0.0}
        | a fault without a deed | faults?path=/bridges | POST | 400
        | a fault with two | faults?path=/bridges&status=500&drop=true | POST | 400
        | a status that is none | faults?status=1000 | POST | 400 || an answer that is not the last | faults?status=100 | POST | 400
        | a path that nothing has | faults?status=500&path=/bridge | POST | 400
        | a method that nothing there has | faults?status=500&method=PUT&path=/bridges | POST | 400
        | a path from outside | faults?status=500&path=/ari/bridges | POST | 400
        | what is not UTF-8 | faults?status=500&message=%FF | POST | 400
        | a path that is not | faults?status=500&path=/channels/%FF | POST | 400 || a name that is not | faults?%FF=1 | POST | 400
        | a name that it does not know | faults?stauts=500&drop=true | POST | 400
        | a number that is none | faults?status=500&times=two | POST | 400 "two is no whole number"
        | a number below 0 | faults?status=500&times=-1 | POST | 400 || a number like 1e6 | clock/advance?seconds=1e6 | POST | 400
        | no number | clock/advance | POST | 400 || more than a day | clock/advance?seconds=86401 | POST | 400
        | a flag that is none | reset?keepSockets=maybe | POST | 400 || a clock of another kind | clock?mode=sand | PUT | 400
        | a clock of no kind | clock?speed=10 | PUT | 400 || a clock that stands still | clock?mode=real&speed=0 | PUT | 400
        | a close code that is none | sockets/{app}?code=99 | DELETE | 400
        | a close code that is never sent | sockets/{app}?code=1005 | DELETE | 400
        | a freeze without an end | sockets/{app}/freeze | POST | 400
        | an application that nobody hears | sockets/none | DELETE | 404
        | an event that is none | events/{app} [] | POST | 400 || an event for nobody | events/none {} | POST | 404
        | nothing of that name | nothing | POST | 404 || a method that it has not | quiet | POST | 405
    takes flags in any case, and any text
        POST /control/faults?path=/bridges&status=500&message=a%0Ab -> 200 {"message": "a\\nb"}
        POST /control/faults?path=/bridges&drop=TRUE -> 200
    takes null as not given In JSON
        PUT /control/phones/PJSIP/x {"context": null, "answers": null} -> 200
        GET /control/phones/PJSIP/x -> 200 {"context": "default"}
    moves the time [context] A call that nobody answers is over after its 30 s, which take no time; ids are new
        POST /channels?endpoint=Local/1@{context}&app={app}&channelId=$c -> 200
        let 29 s pass
        GET /channels/$c -> 200
        POST /control/clock/advance?seconds=2 -> 204
        GET /channels/$c -> 404
        POST /channels?endpoint=Local/1@{context}&app={app}&channelId=$d -> 200
        PUT /control/clock?mode=real&speed=1000 -> 204
        await ChannelDestroyed $d
        GET /control/clock -> 200 {"speed": 1000.0}
    lets a recording of a minute take no time [call] What falls due on the way happens in order, at its own time
        POST /channels/{call}/answer -> 204
        POST /channels/{call}/record?name=$r&format=wav&maxDurationSeconds=60 -> 201
        let 120 s pass
        await RecordingFinished {"recording": {"duration": 60}}
    shows bytes that are no text With a character that stands for it, and goes on
        GET /channels/%FF -> 404
        GET /control/requests?path=/channels/* -> 200 [{"path": "/channels/\ufffd"}]
    waits until nothing is left Or says what is
        POST /bridges/$b -> 200
        POST /bridges/$c -> 200
        GET /control/quiet?wait=0.01 -> 408 Request Timeout "left: bridges $b, $c after 0.01 s"
        GET /control/quiet -> 200 = {"quiet": false}
        DELETE /bridges/$b -> 204
        DELETE /bridges/$c -> 204
        GET /control/quiet?wait=10 -> 200 = {"quiet": true}
    drops a socket that nobody hears from then on So that who waits for the application waits for another socket
        DELETE /control/sockets/{app} -> 204
        GET /applications/{app} -> 404
        GET /control/sockets/{app}?wait=0.01 -> 408 Request Timeout "nobody listens as {app} after 0.01 s"
        open
        GET /control/sockets/{app}?wait=10 -> 200 = {"application": "{app}", "heard": true}
    begins anew [call] Channels, bridges, variables, what is followed, recordings, telephones, faults and journal are gone
        POST /channels/{call}/answer -> 204
        POST /bridges/$b -> 200
        POST /bridges/$b/addChannel?channel={call} -> 204
        POST /bridges/$b/record?name=$r&format=wav -> 201
        POST /asterisk/variable?variable=A&value=1 -> 204
        POST /control/faults?path=/sounds&status=500 -> 200
        POST /control/reset?keepSockets=%1 -> 204
        GET /control/requests -> 200 = []
        GET /control/events -> 200 = []
        GET /control/faults -> 200 = []
        GET /control/quiet -> 200 = {"quiet": true}
        GET /asterisk/variable?variable=A -> 200 {"value": ""}
        GET /recordings/stored -> 200 = []
        GET /endpoints -> 200 = []
        GET /applications/{app} -> %2
        await StasisEnd {call}
        %3
        %4
        | with its sockets | true | 200 | POST /events/user/again?application={app} -> 204 | await ChannelUserevent
        | and its sockets end | false | 404
    tells who hears all of all behind a reset With keepSockets
        open all all
        POST /control/reset?keepSockets=true -> 204
        POST /bridges/$b -> 200
        await BridgeCreated $b
""")
class TestControlInterface(Hosted):
    """What a test may do besides: see, wait, let things fail, move the time, begin anew (Server, /control)."""

    def test_shows_what_was_asked(self, bench, ari):
        """In order, by method and path, as it came and with parameters by name, without a password; the error of a refusal."""
        since = bench.requests()[-1]["number"]
        ari.post("/bridges?name=a%20b&api_key=asterisk:asterisk", json={"type": "mixing"})
        ari.post("/channels/none/answer")
        ari.get("/bridges", auth="nobody:x")
        reply = expect(ari.get("/control/requests?since=%d" % since), status=200, has=[
            {"user": "asterisk", "method": "POST", "path": "/bridges", "status": 200, "error": None,
             "target": "/ari/bridges?name=a%20b&api_key=...", "body": '{"type": "mixing"}'},
            {"method": "POST", "path": "/channels/none/answer", "status": 404, "error": message("Channel not found")},
            {"user": "nobody", "path": "/bridges", "status": 401, "error": message("Authentication required")}]).json
        assert [one["parameters"] for one in reply] == [{"name": "a b", "type": "mixing"}, {}, {}]
        assert bench.requests("post", "/channels/*/answer") == bench.requests("post", "/channels/*on*/answer") == [reply[1]]
        assert bench.requests("post", "/channels/*x*/answer") == []
        expect(ari.get("/control/requests?since=%d" % reply[1]["number"]), json=[reply[2]])

    def test_shows_what_is_there(self, bench, ari, call):
        """Telephones, sockets, channels, how far a playback and a recording are, faults and the clock."""
        for path in ("answer", "play?media=sound:a", "record?name=r&format=wav&maxDurationSeconds=9"):
            ari.post("/channels/%s/%s" % (call, path))
        bench.fail("GET", "/bridges", times=2)
        bench.advance(0.5)
        state = ari.get("/control/state").json
        assert matches(state, whole=False, wanted={
            "playbacks": [{"media_uri": "sound:a", "seconds": 0.5, "duration": 1.0}], "faults": [{"times": 2}], "speed": 0.0,
            "recordings": [{"state": "queued", "duration": 9}], "channels": [call], "sockets": [{"applications": [ari.app]}]})
        assert state["telephones"][0] == {
            "name": "PJSIP/alice", "state": "INUSE", "context": ari.context, "callerId": "Alice <100>", "channel_id": call,
            "calls": [{"channel_id": call, "name": "PJSIP/alice-00000000", "state": "Up"}]}
        bench.advance(2)
        assert ari.get("/control/state").json["recordings"][0]["seconds"] == 1.5

    def test_shows_what_was_sent(self, bench, ari, events):
        """Events with their number and application, by type and application."""
        for name in ("x", "y"):
            ari.user_event(name)
        assert [event["eventname"] for event in bench.events("ChannelUserevent")] == ["x", "y"]
        assert bench.events("StasisStart") == []
        first = ari.get("/control/events?application=" + ari.app).json[0]
        assert first["applications"] == [ari.app] and first["event"]["eventname"] == "x"
        expect(ari.get("/control/events?since=%d" % first["number"]), has=[{"event": {"eventname": "y"}}])

    def test_waits_for_what_comes(self, bench, ari, events):
        """As soon as there are so many; 408, or an AssertionError that shows what came instead, when there are not."""
        threading.Timer(0.05, lambda: get(bench.ari_url, path="/bridges")).start()
        assert bench.wait_for("GET", "/bridges", seconds=10)["status"] == 200
        with refused(r"1 of 2 requests GET /bridges after 0.01 s; asked were last: .*GET /bridges 200", AssertionError):
            bench.wait_for("GET", "/bridges", seconds=0.01, count=2)
        with refused("0 of 1 events StasisStart after 0.01 s; sent were last: none", AssertionError):
            bench.wait_for_event("StasisStart", seconds=0.01)
        threading.Timer(0.05, lambda: bench.emit(ari.app, {"type": "ChannelUserevent"})).start()
        assert ari.get("/control/events?type=ChannelUserevent&wait=10").status == 200
        reply = ari.get("/control/requests?path=/bridges&wait=0.01&count=2")
        assert reply.status == 408 and len(reply.json) == 1
        for _ in range(2):
            ari.user_event("x")
        with refused("sent were last: ChannelUserevent, ChannelUserevent, ChannelUserevent$", AssertionError):
            bench.wait_for_event("StasisStart", seconds=0.01)

    @rows("path", ("for an event", "/control/events?wait=60&count=99"), ("as a fault has it", "/ari/sounds"))
    def test_others_are_answered_while_somebody_waits(self, bench, path):
        """However long that is."""
        bench.delay("GET", "/sounds", seconds=60)
        before = set(bench.sessions)
        with socket.create_connection(bench.listeners[0].server_address) as sock:
            sock.sendall(("GET %s HTTP/1.1\r\nAuthorization: %s\r\n\r\n" % (path, basic("asterisk:asterisk"))).encode())
            until(lambda: set(bench.sessions) - before)
            assert [get(bench.ari_url) for _ in range(3)] == [200] * 3

    @rows("path", ("for requests", "requests?wait=3000&count=99"), ("for events", "events?wait=3000&count=99"),
          ("for a socket", "sockets/none?wait=3000"))
    def test_waits_a_minute_at_most(self, ari, monkeypatch, path):
        """Over HTTP (MAX_WAIT_SECONDS)."""
        monkeypatch.setattr(ari_ref, "MAX_WAIT_SECONDS", 0.05)
        assert ari.get("/control/" + path).status == 408

    @rows("target", ("with a late answer", "/ari/channels"), ("for requests", "/control/requests?wait=60&count=99"),
          ("until nothing is left", "/control/quiet?wait=60"), ("for a socket", "/control/sockets/none?wait=60"))
    def test_waits_for_nobody_who_has_left(self, bench, ari, target):
        """So that those who gave up take nobody's place (session_limit); what was asked is done, as a slow server would do it."""
        ari.post("/bridges/b")
        bench.delay("GET", "/channels", seconds=3000)
        before, done = set(bench.sessions), [200] * target.startswith("/ari")
        with socket.create_connection(bench.listeners[0].server_address) as sock:
            sock.sendall(head("GET %s HTTP/1.1" % target, ari.authorization).encode())
            bench.wait(lambda stasis: set(bench.sessions) - before)
        bench.wait(lambda stasis: not set(bench.sessions) - before)
        until(lambda: [one["status"] for one in bench.requests("GET", "/channels")] == done)

    def test_waits_no_longer_than_to_a_reset_or_the_end(self, plain):
        for end in (plain.reset, plain.close):
            waiting = threading.Thread(target=plain.requests, kwargs={"wait": 3000})
            waiting.start()
            until(lambda: plain.asked.watchers)
            end()
            waiting.join(10)
            assert not waiting.is_alive()

    def test_keeps_the_newest(self, monkeypatch):
        """So many (MAX_JOURNAL), each of so many characters (MAX_NOTED); numbers go on."""
        monkeypatch.setattr(ari_ref, "MAX_JOURNAL", 3)
        journal = ari_ref.Journal(iter(range(1, 9)))
        for word in "abcde":
            journal.add(1, word)
        journal.add(ari_ref.MAX_NOTED + 1, "too long to be kept")
        assert list(journal.entries) == [(3, "c"), (4, "d"), (5, "e")]
        assert journal.find(lambda entry: {"word": entry[1]}, 4, 1, 0, bool) == [{"word": "e"}]

    def test_keeps_no_head_that_is_too_long(self, bench, ari):
        """With all its fields it counts (MAX_NOTED)."""
        ari.get("/bridges", headers={"X": "x" * 3000, **{"X%d" % number: "x" * 3000 for number in range(7)}})
        assert bench.requests("GET", "/bridges") == []

    def test_numbers_requests_and_events_together(self, bench, ari, events):
        """A request stands before what it did, and is there as soon as that can be seen."""
        ari.user_event("seen")
        request, event = bench.requests("POST", "/events/user/*")[-1], bench.sent_events("ChannelUserevent")[-1]
        assert request["number"] < event["number"] and event["time"] == event["event"]["timestamp"]
        assert event["event"]["application"] == ari.app
        for round_ in range(50):
            asking = threading.Thread(target=ari.post, args=("/bridges/b%d" % round_,))
            asking.start()
            bench.wait(lambda stasis: "b%d" % round_ in stasis.bridges)
            assert bench.requests("POST", "/bridges/b%d" % round_)
            asking.join()

    @rows("after", ("before it is done", False), ("behind the deed", True))
    def test_ends_the_connection_without_an_answer(self, bench, ari, after):
        """And the bridge is there, or is not."""
        bench.drop("POST", "/bridges/*", after=after, times=1)
        assert ari.post("/bridges/b").status is None
        assert len(ari.get("/bridges").json) == after and bench.requests("POST", "/bridges/b")[0]["status"] == 0

    def test_ends_the_connection_behind_a_refusal(self, bench, ari):
        """As behind any other deed."""
        bench.drop("DELETE", "/bridges/*", after=True, times=1)
        assert ari.delete("/bridges/none").status is None and bench.requests("DELETE")[0]["status"] == 0
        expect(ari.delete("/bridges/none"), status=404, phrase="Not found", json=message("Bridge not found"))

    def test_answers_late(self, bench):
        """By the server's clock; the others are served meanwhile. At once when the faults are cleared. When all is reset it is
        forgotten."""
        def ask():
            with contextlib.suppress(OSError):
                statuses.append(get(bench.ari_url, path="/bridges"))
        for let_go, answered in ((lambda: bench.advance(30), [200]), (bench.clear_faults, [200]), (bench.reset, [])):
            statuses, asking = [], threading.Thread(target=ask)
            bench.delay("GET", "/bridges", seconds=30, times=1)
            asking.start()
            bench.wait(lambda stasis: not bench.faults)
            assert get(bench.ari_url, path="/channels") == 200 and statuses == []
            let_go()
            asking.join(10)
            assert statuses == answered
        assert bench.requests() == [] and bench.is_quiet()

    def test_lets_fail_what_ari_would_take(self, bench, ari):
        """Not who may not ask, nor what cannot be asked, with a body or without."""
        bench.fail("", "/bridges", status=503, times=1)
        for more in ({}, {"json": {"a": 1}}):
            expect(ari.post("/bridges", auth="nobody:x", **more), status=401)
        expect(ari.request("DELETE", "/bridges"), status=405)
        expect(ari.get("/bridges"), status=503, json=message("Injected"))

    def test_takes_so_many_faults_and_characters(self, ari, monkeypatch):
        """400 beyond (MAX_FAULTS, MAX_FAULT_CHARS)."""
        monkeypatch.setattr(ari_ref, "MAX_FAULTS", 2)
        for text, status in (("x" * 1001, 400), ("", 200), ("", 200), ("", 400)):
            expect(ari.post("/control/faults?status=500&path=/bridges&message=" + text), status=status)

    @rows("pattern, path, is_matched", ("itself", "/a/b", "/a/b", True), ("any one part", "/a/*/c", "/a/b/c", True),
          ("no slash", "/a/*", "/a/b/c", False), ("a piece of a part", "/a/b*d", "/a/bcd", True), ("all", "", "/a", True),
          ("not twice the same", "/a/bc*cd", "/a/bcd", False), ("in order", "/*b*a", "/ab", False),
          ("with its dots", "/a.c", "/abc", False),
          ("without looking back", "/" + "*a" * 400 + "b", "/" + "a" * 4000, False))
    def test_finds_by_a_path(self, pattern, path, is_matched):
        """* is any text without a slash; many of them take no time."""
        before = time.thread_time()
        assert ari_ref.path_matches(pattern, path) == is_matched and time.thread_time() - before < 5

    @rows("code", ("with a close code", 1001), ("without a word", 1006))
    def test_drops_an_event_socket(self, bench, ari, events, code):
        """The client sees the close frame, or the end."""
        bench.freeze_events(ari.app, 30)        # which holds up no end
        expect(ari.delete("/control/sockets/%s?code=%d" % (ari.app, code)), status=204)
        if code == 1001:
            assert events.connection.frame(time.monotonic() + 10).payload == b"\x03\xe9"
        assert events.connection.drain() is not None

    def test_sends_any_event_and_none_for_a_while(self, bench, ari, events):
        """What waits while a socket is frozen comes when the time is over, of the newest freeze, or with a reset. The journal's own
        timestamp is a text."""
        for thaw in (lambda: bench.advance(1), lambda: bench.reset(keep_sockets=True)):
            bench.freeze_events(ari.app, 3000)
            bench.freeze_events(ari.app, 1)
            expect(ari.post("/control/events/" + ari.app, json={"type": "Odd", "timestamp": 5, "x": [1]}), status=204)
            assert isinstance(bench.sent_events("Odd")[0]["time"], str)
            bench.advance(0.9)
            assert not select.select([events.connection.socket], [], [], 0.01)[0]
            thaw()
            assert events.expect("Odd")["x"] == [1]

    @rows("event", ("bytes", {"type": b"x"}), ("no number", {"x": math.nan}), ("half a character", {"x": "\ud800"}),
          ("no object", ["x"]))
    def test_sends_no_event_that_is_no_json(self, bench, ari, events, event):
        with refused("JSON object", ari_ref.AriError):
            bench.emit(ari.app, event)

    @rows("seconds", ("backwards", -1), ("no number", math.nan), ("without end", math.inf), ("more than a day", 86401))
    def test_moves_the_time_by_a_day_at_most(self, bench, ari, events, seconds):
        before = bench.now()
        for move in (bench.advance, functools.partial(bench.freeze_events, ari.app)):
            with pytest.raises(ari_ref.AriError):
                move(seconds)
        assert bench.now() == before
        bench.advance(31)
        assert bench.now() == before + 31

    def test_lets_others_have_their_turn_while_time_moves(self, bench):
        """Ten seconds at a time: a call that rings for 30 s can be answered by who waits for it to ring for 10."""
        steps, move = [], bench.move_clock
        bench.move_clock = lambda seconds: steps.append(seconds) or move(seconds)
        bench.advance(25)
        assert steps == [10, 10, 5]

    def test_keeps_the_speed_that_the_clock_is_given(self, bench):
        """While time is moved on."""
        moving = threading.Thread(target=bench.advance, args=(86400,))
        bench.change(lambda stasis: ari_ref.Timer(stasis).set(86400, lambda: None))
        moving.start()
        bench.set_clock("real", 7)
        moving.join(10)
        assert bench.clock[1] == 7

    def test_goes_on_when_a_timer_is_due_in_years(self, plain):
        """At a speed at which nothing can be waited for."""
        done = threading.Event()
        plain.set_clock("real", 1e-9)
        for seconds, act in ((1e9, lambda: None), (0.5, done.set)):
            plain.change(lambda stasis: ari_ref.Timer(stasis).set(seconds, act))
        plain.set_clock("real", 1000)
        assert done.wait(10)

    def test_begins_anew_with_the_telephones_of_the_start(self):
        """Those of before are not there; whoever carries audio asks anew whom everybody hears."""
        server = ari_ref.Server(users={"a": "b"}, port=0)
        server.phone("PJSIP/alice", context="stasis-x")
        with server:
            bob, version = server.phone("PJSIP/bob"), server.stasis.audio_version
            server.reset()
            with refused("There is no telephone PJSIP/bob", ari_ref.AriError):
                bob.wait("Up")
            assert server.stasis.audio_version > version
            assert list(server.stasis.endpoints) == ["PJSIP/alice"] and server.stasis.endpoints["PJSIP/alice"].context == "stasis-x"

    def test_hears_a_connection_that_idled_over_a_reset(self, bench, ari):
        """As that of an application that stays."""
        for path in ("/bridges/a", "/bridges/b"):
            ari.post(path)
            assert [one["path"] for one in bench.requests()][-1:] == [path]
            bench.reset(keep_sockets=True)

    def test_needs_no_file(self):
        """Users and channelvars in Python, or the text of ari.conf; it says where it is."""
        with ari_ref.Server(users={"u": "p:q"}, channelvars=["FOO"], port=0) as server:
            assert get(server.ari_url, "u:p:q") == 200 and server.stasis.channelvars == ["FOO"]
            assert server.events_url("a b") == "ws" + server.ari_url[4:] + "/events?app=a+b&api_key=u%3Ap%3Aq"
        assert ari_ref.read_config("[general]\npretty = yes\n" + USER).is_pretty

    @rows("auth, method, path, status", ("for who may write", "u:p", "GET", "requests", 200),
          ("for who may only read", "r:p", "GET", "clock", 403), ("for nobody else", "u:x", "GET", "quiet", 401),
          ("for telephones", "u:p", "PUT", "phones/PJSIP/alice", 200),
          ("not by another method", "u:p", "POST", "phones/PJSIP/alice", 405),
          ("nor for what they cannot do", "u:p", "POST", "phones/PJSIP/alice/fly", 404),
          ("nor for one that is not there", "u:p", "POST", "phones/PJSIP/none/ring", 404))
    def test_is_served(self, auth, method, path, status):
        """With --control, and outside /ari alone."""
        config = ari_ref.read_config(USER + "[r]\ntype = user\nread_only = yes\npassword = p\n")
        for has_control in (True, False):
            with ari_ref.Server(config, port=0, control=has_control) as server:
                assert get(server.url + "/control/", auth, path, method) == (status if has_control else 404)
                assert get(server.ari_url + "/control/", "u:p", path, method) == 404

    def test_prints_the_events_of_an_application(self):
        """--listen APP URL: one a line, until the server ends it; its reason where it is refused."""
        with ari_ref.Server(users={"u": "p"}, port=0, control=True) as server:
            url = server.ari_url.replace("//", "//u:p@")
            with subprocess.Popen([sys.executable, program(), "--listen", "hello", url], stdout=subprocess.PIPE) as listening:
                server.wait_for_application("hello", 20)
                for number in range(2):
                    server.emit("hello", {"type": "Odd", "number": number, "long": "x" * 70_000})
                shown = [jsonlib.loads(listening.stdout.readline().decode()) for _ in range(2)]
                server.drop_events("hello", 1001)
                assert listening.wait(10) == 0 and [(event["type"], event["number"]) for event in shown] == [("Odd", 0), ("Odd", 1)]
            done = process("--listen", "hello", server.ari_url)
            assert done.returncode == 1 and b"401" in done.stderr


@in_process
class TestControlPage:
    """What a browser gets where the server has control."""

    @rows("has_control, method, path, status",
        ("at the root", True, "GET", "/", 200), ("at /control", True, "GET", "/control", 200), ("its head", True, "HEAD", "/", 200),
        ("with a slash", True, "GET", "/control/", 200), ("by no other method", True, "POST", "/", 404),
        ("nowhere else", True, "GET", "/index.html", 404), ("not without control", False, "GET", "/", 404),
        ("nor there", False, "GET", "/control", 404))
    def test_is_served(self, has_control, method, path, status):
        """To everybody. It may run nothing else: its Content-Security-Policy knows its own script and style by their hashes."""
        with ari_ref.Server(users={"a": "b"}, port=0, control=has_control) as server:
            connection = http.client.HTTPConnection(*server.listeners[0].server_address)
            with contextlib.closing(connection):
                connection.request(method, path)
                reply = connection.getresponse()
                text = reply.read().decode()
        assert reply.status == status and (text == ari_ref.PAGE) == (status == 200 and method == "GET")
        if status == 200:
            hashes = {kind + "-src": "'sha256-%s'" % base64.b64encode(hashlib.sha256(piece.encode()).digest()).decode()
                      for kind, piece in re.findall("<(script|style)>(.*?)</", ari_ref.PAGE, re.DOTALL)}
            assert dict(rule.split(" ", 1) for rule in reply.headers["Content-Security-Policy"].split("; ")) == {
                "default-src": "'none'", "connect-src": "'self'", "base-uri": "'none'", "form-action": "'none'",
                "frame-ancestors": "'none'", **hashes}
            assert reply.headers["X-Content-Type-Options"] == "nosniff"

    def test_makes_no_markup_of_texts_and_is_small(self):
        """It builds elements and gives them texts; no attribute and no URL of another place is in it. 300 lines, 14 KiB."""
        markup = r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|setAttribute|https?://|src=|href="
        assert not re.search(markup, ari_ref.PAGE)
        assert ari_ref.PAGE.count("\n") <= 300 and len(ari_ref.PAGE.encode()) <= 14 * 1024

    def test_asks_for_what_is_there(self):
        """Every method and path, and every action of a telephone."""
        asked = re.findall(r'(ask|ari)\("(\w+)", (own \+ "/\w*"|pathOf\([^)]*\)|"[^"]*"(?: \+ \w+)?)', ari_ref.PAGE)
        assert len(asked) >= 15
        def parts(names):
            return "".join("/" + (name[1:-1] if name.startswith('"') else "*") for name in names.group(1).split(", "))
        for function, method, path in asked:
            path = re.sub(r"pathOf\(([^)]*)\)", parts, path)
            path = path.replace("own + ", "/control/phones/*/*").replace('" + what', "requests").replace('"', "")
            if function == "ari":
                assert ari_ref.is_operation(method, path), path
            elif not path.endswith("*/*/"):             # that is an action
                assert method in ari_ref.find_route(path[1:], ari_ref.CONTROL_ROUTES)[0], path
        actions = re.search(r"MOVES = {(.*?)}", ari_ref.PAGE, re.DOTALL).group(1)
        assert set(re.findall(r"(\w+):", actions)) < set(ari_ref.PHONE_ACTIONS)


@in_process
@script("""
    are shown and moved from outside [bot] 404 and 409 as for telephones
        GET /control/media/{media} -> 200
        GET /control/media/none -> 404
        GET /control/media/{media}/sent -> 404
        POST /control/media/{media} -> 405
        POST /control/phones/PJSIP/alice/say?sound=none -> 404
        POST /control/phones/PJSIP/nobody/say?sound=digits -> 404
        POST /control/phones/PJSIP/alice/say?sound=digits -> 204
        POST /control/phones/PJSIP/alice/hangup -> 204
        POST /control/phones/PJSIP/alice/say?sound=digits -> 409
    are heard as talk by what a telephone says [bot] TALK_DETECT of a sound is over by itself (func_talkdetect.c)
        POST /channels/{call}/variable?variable=TALK_DETECT(set)&value=50,256 -> 204
        POST /control/phones/PJSIP/alice/say?sound=%1 -> 204
        await ChannelTalkingStarted {call}
        await ChannelTalkingFinished {call} {"duration": 250}
        | as long as it is | digits || as a tone of its length where no file can be read | odd
""")
class TestAudioOfTelephones:
    """What telephones and programs say to each other over RTP (Server.rtp, /control/media)."""

    @pytest.fixture
    def ari(self, tmp_path):
        (tmp_path / "en").mkdir()
        for name, data in (
                ("digits.ulaw", bytes(range(100)) * 16), ("loud.sln", struct.pack("<h", 8000) * 800), ("odd.gsm", bytes(330))):
            (tmp_path / "en" / name).write_bytes(data)
        with hosting("bot", sounds=str(tmp_path), control=True) as (_, client):
            yield client

    @pytest.fixture
    def bot(self, ari, events):
        """A telephone in a call with a program, and that program; in text their channels, {call} and {media}."""
        with Program(ari) as program:
            alice = ari.server.module.phone("PJSIP/alice", context=ari.context).call("700")
            call, media = alice.channel_id, program.open("media", events)
            expect(ari.post("/channels/%s/answer" % call), status=204)
            add(ari, ari.bridge(), call, media)
            yield types.SimpleNamespace(names={"call": call, "media": media}, server=ari.server.module, client=ari, events=events,
                                        alice=alice, call=call, media=media, program=program)

    def heard(self, program, wanted):
        """The payloads from the first that is not silence on."""
        deadline, found = time.monotonic() + 10, []
        while len(found) < wanted and time.monotonic() < deadline:
            payload = program.packet()[5]
            if found or payload != b"\xff" * 160:
                found.append(payload)
        return found

    def test_a_program_hears_a_telephone(self, bot):
        """Silence while it is silent, a tone while it talks, and what it says, from the beginning."""
        assert bot.program.packet()[5] == b"\xff" * 160
        bot.alice.say("digits")
        assert self.heard(bot.program, 10) == [(bytes(range(100)) * 16)[at:at + 160] for at in range(0, 1600, 160)]
        bot.alice.say("loud")
        assert self.heard(bot.program, 1)[0] == b"\xa0" * 160           # ITU-T G.711: 7932
        bot.alice.talk()
        assert self.heard(bot.program, 1)[0] == ari_ref.TONE
        bot.alice.talk(False)
        until(lambda: bot.program.packet()[5] == b"\xff" * 160)

    def test_a_telephone_hears_a_program(self, bot):
        """What it received can be fetched, as what was sent; both are counted."""
        payloads = [bytes([number]) * 160 for number in range(1, 21)]
        bot.program.send(*payloads)
        until(lambda: payloads[-1] in bot.server.received(bot.call))
        assert b"".join(payloads) in bot.server.received(bot.call)
        assert bot.client.get("/control/media/%s/received" % bot.media).body == b"".join(payloads)
        counts = bot.server.media(bot.media)
        assert (counts["received"], counts["received_bytes"], counts["format"]) == (20, 3200, "ulaw")
        assert counts["sent_bytes"] == 160 * counts["sent"] > 0 and bot.server.media(bot.call)["received"] >= 20
        shown = bot.client.get("/channels/%s/rtp_statistics" % bot.call).json
        assert shown["txcount"] >= 20 and shown["rxcount"] > 0 and shown["rxoctetcount"] == 160 * shown["rxcount"]
        assert shown["local_ssrc"] != shown["remote_ssrc"]
        ends = [end + kind for kind in ("jitter", "rxploss") for side in ("remote_", "local_")
                for end in (side + "max", side + "min", side + "normdev", side + "stdev")]
        assert list(shown) == ("txcount rxcount txploss rxploss local_ssrc remote_ssrc txoctetcount rxoctetcount channel_uniqueid txjitter "
                               "rxjitter".split() + ends + "rtt maxrtt minrtt normdevrtt stdevrtt".split())

    def test_what_a_telephone_can_not_say(self, bot):
        """A sound that is not there."""
        with refused("'There is no such sound'", ari_ref.AriError):
            bot.alice.say("none")

    def test_what_a_program_says_is_talk(self, bot):
        """TALK_DETECT on its channel, by how loud it is (dsp.c), and the end after its silence."""
        expect(bot.client.post("/channels/%s/variable?variable=TALK_DETECT(set)&value=100,256" % bot.media), status=204)
        bot.program.send(*[b"\xff" * 160] * 5, *[ari_ref.TONE] * 10)
        bot.events.expect("ChannelTalkingStarted", channel=bot.media)
        assert bot.events.expect("ChannelTalkingFinished", channel=bot.media)["duration"] >= 100

    def test_a_recording_hears_a_program(self, bot):
        """While packets come it is written to, and ends for want of them (main/app.c)."""
        alone = bot.server.stasis.channels[bot.media]
        assert not alone.hears_audio()
        bot.program.send(*[ari_ref.TONE] * 30)
        until(alone.hears_audio)
        until(lambda: not alone.hears_audio())

    def test_what_is_no_packet_is_dropped(self, bot):
        """Too short, of another version, with more head or padding than there is, digits, noise (RFC 3550 5.1)."""
        for short in (b"", b"x", bytes(11)):
            bot.program.sock.sendto(short, bot.program.place)
        for first, payload in (
                (b"\x40\0", b"x"), (b"\x8f\0", b"x"), (b"\x90\0", b"\0\0\xff\xff"), (b"\xa0\0", b"\xff"), (b"\x80\0", b""),
                (b"\x80\x65", b"\5\n\0\xa0"), (b"\x80\x8d", b"x"), (b"\xb1\0", b"CSRC\0\0\0\1EXTEgood\0\0\3"),
                (b"\x81\0", b"CSRCfine")):
            bot.program.sock.sendto(first + struct.pack(">HII", 1, 2, 3) + payload, bot.program.place)
        until(lambda: len(bot.server.received(bot.media)) >= 8)
        assert bot.server.received(bot.media) == b"goodfine"

    def test_a_line_without_its_channel_is_closed(self, bot, monkeypatch):
        """Its socket goes with the channel; one that never got a channel after a while (UNUSED_SECONDS)."""
        monkeypatch.setattr(ari_ref, "UNUSED_SECONDS", 0.05)
        unused = bot.server.rtp.open("127.0.0.1:9", "ulaw")
        expect(bot.client.delete("/channels/" + bot.media), status=204)
        until(lambda: not bot.server.rtp.lines)
        assert unused.sock.fileno() == -1

    def test_goes_over_ipv6(self, bot):
        """An address in brackets; packets both ways."""
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as program:
            try:
                program.bind(("::1", 0))
            except OSError:
                pytest.skip("this system has no IPv6")
            program.settimeout(10)
            host = "[::1]:%d" % program.getsockname()[1]
            channel = bot.client.post("/channels/externalMedia", {"app": "bot-app", "external_host": host, "format": "ulaw"}).json
            expect(bot.client.post("/channels/%s/silence" % channel["id"]), status=204)
            assert channel["channelvars"]["UNICASTRTP_LOCAL_ADDRESS"] == "::1" and len(program.recv(1000)) == 172
            program.sendto(b"\x80\0" + bytes(10) + b"x", ("::1", int(channel["channelvars"]["UNICASTRTP_LOCAL_PORT"])))
            until(lambda: bot.server.received(channel["id"]) == b"x")

    @pytest.mark.parametrize("name", ["alaw", "slin12", "slin16", "slin44", "slin192"])
    def test_a_sound_comes_back_as_it_was(self, name):
        """From ulaw and to it again; alaw has other steps (ITU-T G.711)."""
        codec, sound = ari_ref.rtp_codec(name), bytes(range(160))
        back = codec.to_ulaw(codec.from_ulaw(sound))
        steps = [abs(ari_ref.ULAW[a] - ari_ref.ULAW[b]) for a, b in zip(sound, back)]
        assert len(codec.from_ulaw(sound)) == len(codec.silence) and max(steps) <= (512 if name == "alaw" else 0)

    def test_a_dialplan_that_plays_is_heard(self):
        """On the other leg of a pair, while it plays (bridge_channel.c)."""
        stasis = stasis_with("demo")
        stasis.dialplan = ari_ref.parse_extensions(b"[c]\nexten => 1,1,Answer()\n same => n,Playback(x)\n same => n,Wait(9)\n")
        near = ari_ref.new_pair(stasis, "1@c", "near", "far")
        ari_ref.originate(near, "", None, {}, "demo", "", None, 30)
        for moment, is_heard in ((1000.1, False), (1001.0, True), (1002.0, False)):        # Answer() takes 0.5 s, the sound 1 s
            stasis.advance(moment)
            assert near.hears_audio() == is_heard

    def test_a_snoop_carries_what_it_hears(self):
        """What the target says, what is said to it, or both; and whispers to it (res_stasis_snoop.c)."""
        stasis = stasis_with("demo")
        for name in ("alice", "bob"):
            ari_ref.put_phone(stasis, "PJSIP", name, {"context": "stasis-demo"})
        calls = [stasis.endpoints["PJSIP/" + name].call("1") for name in ("alice", "bob")]
        bridge = ari_ref.Bridge(stasis, "b", "", False, "talker", allows_native=False)
        for call in calls:
            call.answer()
            bridge.add(call)
        alice, bob = (call.phone for call in calls)
        for name, spies, expected in (
                ("s0", {"in"}, [alice]), ("s1", {"out"}, [bob]), ("s2", {"in", "out"}, [alice, bob]), ("s3", set(), [])):
            ari_ref.snoop_on(calls[0], name, spies, set() if spies else {"out"}, "demo", None)
            snoop = stasis.channels[name]
            assert sorted(snoop.audio(False), key=[alice, bob].index) == expected and snoop.hears_audio() == bool(expected)
        snoop.set_silence(True)
        assert list(calls[0].audio(True)) == [None, bob]
        calls[1].set_muted({"in"}, True)
        assert list(calls[0].audio(True)) == [None, None]


@in_process
@script("""
    that is called rings and answers [called, phones] One channel; Dial and ChannelStateChange tell how far it is (dial.c)
        GET /channels/{called} -> 200 {"name": "<PJSIP/alice-[0-9a-f]{8}>", "caller": {"name": "Alice", "number": "100"}}
        POST {alice}/ring -> 204
        POST {alice}/progress -> 204
        POST {alice}/answer -> 204
        {called}: Dial; ChannelStateChange Ringing; Dial RINGING; Dial PROGRESS; ChannelStateChange Up; Dial ANSWER;
            ChannelVarset STASISSTATUS=; StasisStart
        POST {alice}/hangup -> 204
        {called}: ChannelHangupRequest 16; StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelDestroyed 16
        GET /channels -> 200 = []
    that is called may [called, phones] The cause and how dialling ended
        POST {alice}/%1 -> 204
        {called}: Dial; ChannelHangupRequest %2; Dial %3; ChannelDestroyed %2
        GET /channels -> 200 = []
        | be busy | busy | 17 | BUSY || reject it | reject | 21 | NOANSWER || be unavailable | unavailable | 19 | NOANSWER
        | be hung up | hangup | 21 | NOANSWER
    that calls enters the application of its context [call, phones, context] Ring until it is answered
        GET /channels/{call} -> 200 {"state": "Ring", "caller": {"name": "Alice", "number": "100"},
            "dialplan": {"context": "{context}", "exten": "700", "priority": 1}}
        POST /channels/{call}/answer -> 204
        POST {alice}/digits?digits=1a%23 -> 204
        {call}: ChannelStateChange Up; ChannelDtmfReceived 1; ChannelDtmfReceived A; ChannelDtmfReceived #
    that hangs up before it is answered [call, phones] Cause 127 (res_pjsip_session.c)
        POST {alice}/hangup -> 204
        {call}: ChannelHangupRequest 127
        GET /channels -> 200 = []
        GET /endpoints/PJSIP/alice -> 200 = {"technology": "PJSIP", "resource": "alice", "state": "online", "channel_ids": []}
    that calls nowhere is refused without a word [phones] No channel
        PUT {alice}?context=nowhere -> 200
        POST {alice}/call?extension=1 -> 200 = {"channel_id": null}
        GET /channels -> 200 = []
    tells hold [called, phones] Each once
        POST {alice}/answer -> 204
        await StasisStart
        forget
        POST {alice}/hold -> 204
        POST {alice}/hold -> 204
        POST {alice}/unhold -> 204
        POST {alice}/unhold -> 204
        POST {alice}/hangup -> 204
        {called}: ChannelHold; ChannelUnhold; ChannelHangupRequest 16
    tells talk [called, phones] Where TALK_DETECT(set) asks for it; its end after so much silence (func_talkdetect.c)
        POST {alice}/answer -> 204
        POST {alice}/talk -> 204
        never ChannelTalkingStarted
        POST /channels/{called}/variable?variable=TALK_DETECT(set)&value=800,256 -> 204
        await ChannelTalkingStarted {called}
        POST {alice}/silence -> 204
        let 0.7 s pass
        never ChannelTalkingFinished
        let 0.2 s pass
        await ChannelTalkingFinished {called}
    does of itself [phones] What it does when it is called, after so many seconds
        PUT {alice}?%1 -> 200
        POST /channels?endpoint=PJSIP/alice&app={app}&channelId=$c -> 200
        let %2 s pass
        never Dial $c {"dialstatus": "%3"}
        let 0.2 s pass
        await Dial $c {"dialstatus": "%3"}
        | answer | answers=2.5 | 2.4 | ANSWER || refuse | refuses=reject&answers=1 | 0.9 | NOANSWER
    does nothing of itself when the call is over before [phones]
        PUT {alice}?answers=5 -> 200
        POST /channels?endpoint=PJSIP/alice&app={app}&channelId=$c -> 200
        DELETE /channels/$c -> 204
        let 1000 s pass
        never Dial $c {"dialstatus": "ANSWER"}
    that refuses at once does not ring [phones]
        PUT {alice}?refuses=busy -> 200
        POST /channels?endpoint=PJSIP/alice&app={app}&channelId=$c -> 200
        $c: Dial; ChannelHangupRequest 17; Dial BUSY; ChannelDestroyed 17
    that was removed tells no device state [call, phones] Of the telephone that has its name now
        DELETE {alice} -> 204
        PUT {alice} -> 200
        DELETE /channels/{call} -> 204
        GET {alice} -> 200 {"state": "NOT_INUSE"}
    is unavailable as a device before it was ever registered
        PUT /control/phones/PJSIP/new?registered=false -> 200
        GET /deviceStates/PJSIP%2Fnew -> 200 {"state": "UNAVAILABLE"}
        GET /endpoints/PJSIP/new -> 200 {"state": "offline"}
    has a device state [phones] Computed at its first ring, its answer, its end (chan_pjsip.c, chan_pjsip_devicestate)
        GET {alice} -> 200 {"state": "NOT_INUSE"}
        POST /channels?endpoint=PJSIP/alice&app={app} -> 200
        POST {alice}/ring -> 204
        GET {alice} -> 200 {"state": "RINGING"}
        POST {alice}/answer -> 204
        GET {alice} -> 200 {"state": "INUSE"}
        POST {alice}/hangup -> 204
        GET {alice} -> 200 {"state": "NOT_INUSE"}
        DELETE {alice} -> 204
        POST /channels?endpoint=PJSIP/bob&app={app}&channelId=$b -> 200
        GET /channels/$b/variable?variable=DEVICE_STATE(PJSIP/alice) -> 200 {"value": "UNAVAILABLE"}
    is followed as an endpoint [phones, context] Registration, and all events of its channels, beside who follows those (stasis/app.c)
        POST /applications/{app}/subscription?eventSource=endpoint:PJSIP/alice,endpoint:PJSIP
            -> 200 {"endpoint_ids": ["PJSIP", "PJSIP/alice"]}
        PUT {alice}?context={context}&registered=false -> 200
        await EndpointStateChange {"endpoint": {"state": "offline"}}
        await EndpointStateChange {"endpoint": {"state": "offline"}}
        await PeerStatusChange
        await ContactStatusChange
        never EndpointStateChange
        POST {alice}/call?extension=1 -> 200
        await EndpointStateChange {"endpoint": {"channel_ids": ["<.+>"]}}
        await EndpointStateChange {"endpoint": {"channel_ids": ["<.+>"]}}
        await ChannelCreated
    shows itself With a state that is waited for
        GET /control/phones/PJSIP/alice -> 404
        PUT /control/phones/PJSIP/alice?callerId=100 -> 200
        GET /control/phones/PJSIP/alice -> 200 = {"name": "PJSIP/alice", "state": "NOT_INUSE", "context": "default",
            "callerId": "<<100>>", "channel_id": "", "calls": []}
        GET /control/phones/PJSIP/alice?wait=5 -> 200
        GET /control/phones/PJSIP/alice?state=Up&wait=0.01 -> 408 Request Timeout
        GET /control/phones/PJSIP/alice?state=Up -> 200
""")
class TestTelephones(Hosted):
    """Telephones without SIP: endpoints, their calls, and how they are moved (chan_pjsip.c; Server.phone, /control, --phone)."""

    @pytest.fixture
    def called(self, ari, events, phones):
        """A call from the application to alice."""
        expect(ari.post("/channels/called?endpoint=PJSIP/alice&app=" + ari.app), status=200)
        return "called"

    @rows("name, action, given, status",
        ("nobody", "none", "delete", {}, 404), ("a call that is not there", "bob", "answer", {}, 409),
        ("hold where nothing is Up", "bob", "hold", {}, 409), ("digits where nothing is Up", "bob", "digits", {"digits": "1"}, 409),
        ("an extension that is no text", "alice", "call", {"extension": "\udcff"}, 400), ("no digits", "alice", "digits", {}, 400),
        ("no digit", "alice", "digits", {"digits": "12x"}, 400), ("an odd habit", "alice", "put", {"refuses": "never"}, 400),
        ("many digits", "alice", "digits", {"digits": "1" * 1001}, 400), ("an odd time", "alice", "put", {"answers": "soon"}, 400),
        ("an odd time of a new one", "carol", "put", {"answers": "soon"}, 400))
    def test_is_refused(self, bench, ari, call, name, action, given, status):
        """What cannot be, and nothing has changed; what it has no call for says which it would need."""
        expect(ari.post("/channels/%s/answer" % call), status=204)
        bench.find_phone("PJSIP/alice").digits("1" * 1000)              # as many as may be
        before = bench.state()["telephones"], bench.events()
        with refused("PJSIP/bob has no call that is Up" if action == "hold" else ".", ari_ref.AriError) as caught:
            bench.move_phone("PJSIP", name, action, **given)
        assert caught.value.status == status and (bench.state()["telephones"], bench.events()) == before

    def test_is_changed_where_there_is_no_room_for_another(self, bench, phones, monkeypatch):
        """MAX_KEPT."""
        monkeypatch.setattr(ari_ref, "MAX_KEPT", 2)
        bench.phone("PJSIP/alice", context="other")
        with pytest.raises(ari_ref.AriError) as caught:
            bench.phone("PJSIP/carol")
        assert caught.value.status == 500 and bench.find_phone("PJSIP/alice").show()["context"] == "other"

    def test_ends_its_snoops_before_it_is_destroyed(self, bench, ari, call):
        """However they hear each other (res_stasis_snoop.c)."""
        for target, snoop_id in ((call, "1"), ("1", "2"), (call, "3")):
            expect(ari.post("/channels/%s/snoop/%s?app=%s&spy=in&whisper=out" % (target, snoop_id, ari.app)), status=200)
        ari.events("all", subscribe_all=True)
        bench.find_phone("PJSIP/alice").hang_up()
        told = [(event["type"], event["channel"]["id"]) for event in bench.events() if "channel" in event]
        assert [name for kind, name in told if kind == "StasisEnd"] == [call, "1", "2", "3"]
        assert told[-1] == ("ChannelDestroyed", call) and bench.is_quiet()

    def test_two_in_a_bridge_exchange_their_packets(self, bench, ari, events, phones):
        """native_rtp while nobody else has to do with them; digits are not seen then (bridge_native_rtp.c)."""
        def value(channel, variable):
            return ari.get("/channels/%s/variable?variable=%s" % (channel, variable)).json.get("value")
        def technology():
            return ari.get("/bridges/m").json["technology"]
        calls = [bench.find_phone("PJSIP/" + name).call("1").channel_id for name in ("alice", "bob")]
        expect(ari.post("/bridges/m"), status=200)
        for call in calls:
            expect(ari.post("/channels/%s/answer" % call), status=204)
            add(ari, "m", call)
        assert technology() == "native_rtp" and value(calls[0], "BRIDGEPVTCALLID") == value(calls[1], "CHANNEL(pjsip,call-id)")
        alice = bench.find_phone("PJSIP/alice").digits("1")
        expect(ari.post("/channels/%s/mute?direction=in" % calls[0]), status=204)
        assert technology() == "simple_bridge"
        _, third = ari.pair(events)
        add(ari, "m", third)
        assert value(calls[0], "BRIDGEPVTCALLID") is None               # of several no one is the peer
        expect(ari.post("/bridges/m/removeChannel?channel=" + third), status=204)
        alice.digits("2")
        assert [event["digit"] for event in bench.events("ChannelDtmfReceived")] == ["2"]

    def test_is_waited_for_if_only_for_a_moment(self):
        """A state that was there since it did or waited for something counts, and none of before."""
        dialplan = ari_ref.parse_extensions(b"[x]\nexten = 1,1,Answer\nsame = n,Hangup\n")
        no_call = refused("PJSIP/alice is to be Up, and has no call after 0 s", AssertionError)
        with ari_ref.Server(users={"a": "b"}, dialplan=dialplan, port=0, clock="manual") as server:
            alice = server.phone("PJSIP/alice", context="x")
            for _ in range(2):
                alice.call("1").wait("Up").wait("", 0)
                assert re.fullmatch(r"[0-9]+\.[0-9]+", alice.channel_id) and server.media(alice.channel_id)["received"] == 0
                with no_call:
                    alice.wait("Up", 0)
            with no_call:
                server.find_phone("PJSIP/alice").wait("Up", 0)
            with pytest.raises(TypeError):
                server.phone("PJSIP/bob", answer=2)
            with refused("Down, Ring, Ringing or Up", ari_ref.AriError):
                alice.wait("up")
            bob = server.phone("PJSIP/bob", answers=3)
            bob.call("1", context="x").wait("Up")
            assert bob.show()["context"] == "default"               # and all else of it is as before

    def test_hears_another_without_a_program(self):
        """From the first talk on, and its sound can be fetched when the call is over."""
        with hosting("two") as (server, client):
            client.events()
            alice, bob = (server.phone("PJSIP/" + name, context="stasis-two-app").call("1") for name in ("alice", "bob"))
            expect(client.post("/bridges/b"), status=200)
            for phone in (alice, bob):
                expect(client.post("/channels/%s/answer" % phone.channel_id), status=204)
                add(client, "b", phone.channel_id)
            alice.talk()
            until(lambda: ari_ref.TONE in server.received(bob.channel_id))
            bob.hang_up()
            assert ari_ref.TONE in server.received(bob.channel_id)

    def test_is_there_by_the_command_line_and_by_pjsip_conf(self, tmp_path):
        """--phone, which can be called without --control, and the endpoints in --etc: context and callerid, templates and all."""
        (tmp_path / "ari.conf").write_text(ASTERISK)
        (tmp_path / "pjsip.conf").write_text(
            "[transport-udp]\ntype=transport\n[phone](!)\ntype=endpoint\ncontext=from-internal\n"
            "[alice](phone)\ncallerid=Alice <100>\nauth=alice\n[alice]\ntype=auth\n[bob](phone)\n")
        assert ari_ref.parse_file(ari_ref.parse_phones, str(tmp_path / "pjsip.conf")) == (
            [("alice", "from-internal", "Alice <100>"), ("bob", "from-internal", "")], [])
        with serving("--etc", str(tmp_path), "--phone", "SIP/100@stasis-x") as (_, url):
            with Client(ServerUnderTest(url), "phones") as client:
                assert {endpoint["resource"] for endpoint in client.get("/endpoints").json} == {"alice", "bob", "100"}
                expect(client.post("/channels?endpoint=sip/100&app=x"), status=200)
                expect(client.post("/channels?endpoint=SIP/101&app=x"), status=500)


# A storm: all operations at random, most of them valid, from several clients at once, while event sockets come and go and
# ari.conf changes. ARI_STORM="seconds seed clients" makes it longer, and another one.

STORM_VALUES = """
channelId: c0 c1 c2 c3 c4 c0;2 c1;2 c2;2 c3;2 s0 s1   otherChannelId: f0 f1   snoopId: s0 s1 s2   originator: $channelId
endpoint: Local/1@stasis-$app Local/1@stasis-d Local/1@stasis-d Local/answer@default Local/app@default Local/1@nowhere $phone $phone
move: call?extension=1 ring progress answer answer reject hangup digits?digits=1%23 hold unhold talk silence say?sound=half
app: d d d d d d d a b c gone all   application: $app   applicationName: $app   appArgs: x x,,y   callerId: Eve<100> 200
context: default default stasis-$app nowhere   extension: answer answer app 1   priority: 1 1 2 7   label: 1 start
formats: ulaw ulaw,none   variables: {"__A":"1","CALLERID(num)":"55"} {"FOO":"2"} {}   timeout: 1 1 30 -1   caller: $channelId
variable: FOO CALLERID(name) CHANNEL(state) __A STASISSTATUS   value: v   external_host: 127.0.0.1:9   reason: normal busy
dtmf: 1 12#w3 0123456789ABCD*#   before: 0 200   between: 0 50   duration: 20 200   after: 0 100   mohClass: default
media: sound:half sound:one sound:half,sound:half digits:123 number:7 recording:$name tone:ring sound:none
offsetms: 0 200   skipms: 0 100   name: r0 r1 r2 r3   recordingName: r0 r1 r2 r3 copy   destinationRecordingName: copy
format: ulaw ulaw wav none   maxDurationSeconds: 0 1   maxSilenceSeconds: 0 1   role: announcer participant
bridgeId: b0 b1 b2   channel: $channelId $channelId,$channelId   type: mixing holding mixing,dtmf_events video_sfu
eventName: hello   source: channel:$channelId bridge:$bridgeId   deviceName: Stasis:d Stasis:e   mailboxName: m n
eventSource: channel:$channelId bridge:$bridgeId deviceState:Stasis:d   moduleName: res_ari.so app_echo.so
filter: {} {"disallowed":[{"type":"Dial"}]} {"allowed":[{"type":"Dial"}]}   logChannelName: storm   configuration: notice
configClass: res_mwi_external   objectType: mailboxes   id: m n   fields: [{"attribute":"new_messages","value":"1"}]
phone: PJSIP/alice PJSIP/bob SIP/100
"""
STORM_WEIGHTS = {               # how often an operation is drawn, by its nickname; the others once
    "originateWithId": 16, "create": 12, "answer": 24, "dial": 16, "playWithId": 12, "record": 12, "addChannel": 16,
    "createWithId": 8, "continueInDialplan": 8, "move": 8, "snoopChannelWithId": 8, "sendDTMF": 8, "hangup": 4, "stop": 6}
STORM_FAILURES = re.compile(    # the 500 that Asterisk says itself
    r"Allocation failed|Unable to create bridge|Failed to queue media|Could not \w+ playback|Snoop channel could not be created|"
    r"Unable to read provided function|Changing bridge name|Supplying a bridge type|Recording operation failed|Unknown device")
STORM_CONFIGURATION = "[general]\nwebsocket_write_timeout = %d\n%s\n[asterisk]\ntype = user\npassword = asterisk\n"
STORM_SETTINGS = ("", "channelvars = FOO,A", "pretty = yes", "nonsense = yes")
STORM_SOCKETS = ("a", "b", "a,b", "b,c", "c,theapp", "all")         # `all` follows everything, and so stays for ever


class Observer:
    """Follows everything, and holds each event against what may be told of its subjects."""

    def __init__(self, events):
        self.events, self.faults, self.medium = events, [], None
        self.alive, self.history = set(), collections.defaultdict(list)
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()

    def listen(self):
        """Until the channel `last` ends."""
        while "ChannelDestroyed" not in self.history["last"]:
            frame = self.events.connection.frame(time.monotonic() + 60)
            if frame.opcode == TEXT:
                self.see(jsonlib.loads(frame.payload.decode()))

    def see(self, event):
        """A channel or bridge is told of from its creation to its end only; media begin before they end, and end once."""
        kind = event["type"]
        for subject in (event.get("channel"), event.get("peer"), event.get("bridge")):
            if subject and "id" in subject:             # the peer of a telephone that comes or goes is no channel
                is_new = kind in ("ChannelCreated", "BridgeCreated")
                self.expect((subject["id"] in self.alive) != is_new, subject["id"], kind)
                self.alive |= {subject["id"]} if is_new else set()
                self.alive -= {subject["id"]} if kind in ("ChannelDestroyed", "BridgeDestroyed") else set()
        for channel in event.get("bridge", {}).get("channels", ()):
            self.expect(channel in self.alive, channel, "%s with it inside" % kind)
        medium = event.get("playback") or event.get("recording")        # those of a bridge come twice to who follows everything
        if medium and (medium != self.medium or not medium["target_uri"].startswith("bridge:")):
            name = medium.get("id") or medium["name"]
            begins = not self.history[name] or self.history[name][-1].endswith(("Finished", "Failed"))
            is_right = not self.history[name] or not begins if "playback" in event else (kind == "RecordingStarted") == begins
            self.expect(is_right or kind == "RecordingFailed", name, kind)
        self.medium = medium

    def expect(self, claim, name, kind):
        self.history[name].append(kind)
        if not claim:
            self.faults.append("%s: %s" % (name, ", ".join(self.history[name][-8:])))


class Storm:
    """The clients, and what they have in common."""

    def __init__(self, server, configuration, seconds):
        self.server, self.configuration, self.until = server, configuration, time.monotonic() + seconds
        self.playbacks, self.serial, self.faults, self.log = collections.deque(["none"], 20), itertools.count(), [], []
        self.values = {name: values.split() for name, values in re.findall(r"(\w+): (.+?)(?=   |\n)", STORM_VALUES)}
        self.values["playbackId"] = self.playbacks
        self.weights = [STORM_WEIGHTS.get(row.nickname, 1) for row in OPERATION_ROWS]

    def value(self, dice, name, allowed=""):
        """A value for a parameter: of STORM_VALUES, else of those that the description allows."""
        text = dice.choice(self.values.get(name) or (allowed.replace("0..", "") or "1").split("|"))
        return re.sub(r"\$(\w+)", lambda match: self.value(dice, match.group(1)), text)

    def request(self, dice, client):
        """One operation with values for its path, its required parameters and some of the others."""
        if dice.random() < 0.1:
            return self.move_phone(dice, client)
        row = dice.choices(OPERATION_ROWS, self.weights)[0]
        playback_id = "p%d" % next(self.serial)         # a playback's id may be in use twice: no observer could tell those apart
        path = row.path.replace("play/{playbackId}", "play/" + playback_id)
        path = re.sub(r"\{(\w+)\}", lambda match: quote(self.value(dice, match.group(1)), safe=""), path)
        query, body = [], {}
        for in_body, name, needed, allowed in re.findall(r"(\+?)(\w+)(!?)[^ {]*(?:\{(.*?)\})?", row.parameters):
            if (needed or name in ("app", "spy", "channelId") or dice.random() < 0.3) and name != "playbackId":
                value = self.value(dice, name, allowed)
                if in_body:
                    body = jsonlib.loads(value) if name == "filter" else {name: jsonlib.loads(value)}
                else:
                    query.append((name, value))
        reply = client.request(row.method, path, query, json=body or UNSET)
        self.log.append("%s %s  %s" % (row.method, with_parameters(path, query), reply))
        if reply.status is None or reply.status >= 500 and not STORM_FAILURES.search(str(reply)):
            self.faults.append(self.log[-1])
        elif reply.status == 201 and "media_uri" in reply.json:
            self.playbacks.append(reply.json["id"])

    def move_phone(self, dice, client):
        """A telephone does something, or comes and goes."""
        name, action = "/control/phones/" + self.value(dice, "phone"), self.value(dice, "move")
        if dice.random() < 0.1:
            more = dice.choice(("", "?context=stasis-d", "?context=stasis-d&answers=0.1"))
            reply = client.request("PUT" if more else "DELETE", name + more)
        else:
            reply = client.post("%s/%s" % (name, action))
        self.log.append("%s %s  %s" % (name, action, reply))
        if reply.status not in (200, 204, 404, 409):
            self.faults.append(self.log[-1])

    def ask(self, dice):
        """A client that asks for one thing after the other."""
        with ControlClient(self.server, "storm") as client:
            while time.monotonic() < self.until:
                self.request(dice, client)
                if dice.random() < 0.3:
                    client.part()

    def listen(self, dice):
        """Sockets come, read slowly or hardly, and go, with a close frame or without a word; and ari.conf changes."""
        with ControlClient(self.server, "storm") as client:
            sockets = [client.events("d").connection]
            while time.monotonic() < self.until:
                apps = dice.choice(STORM_SOCKETS)
                sockets.append(client.events(apps, apps == "all", receive_buffer_bytes=dice.choice((None, 4096))).connection)
                for connection in sockets[:1] + dice.sample(sockets, min(3, len(sockets))):
                    connection.socket.setblocking(False)
                    with contextlib.suppress(OSError):
                        connection.socket.recv(100000)
                if len(sockets) > 5:
                    leaving = sockets.pop(dice.randrange(1, 5))
                    leaving.send(dice.choice((frame_bytes(CLOSE, b"\x03\xe8"), b"")))
                    leaving.close()
                new = self.configuration.with_suffix(".new")
                new.write_text(STORM_CONFIGURATION % (50, dice.choice(STORM_SETTINGS)))
                new.replace(self.configuration)             # it changes in one piece
                time.sleep(0.05)
            for connection in sockets:
                connection.close()

    def calm_down(self, client):
        """Delete everything; what is still there after a while."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while True:
            client.events("visitor").close()            # the occasion to forget applications that nobody needs
            channels, bridges = client.get("/channels").json, client.get("/bridges").json
            things = ["/bridges/" + one["id"] for one in bridges]
            things += ["/channels/" + quote(one["id"]) for one in channels if "Snoop/" not in one["name"]]  # they end with it
            media = ["/recordings/live/" + name for name in self.values["name"]] + ["/playbacks/" + name for name in self.playbacks]
            things += [path for path in media if client.get(path).status == 200]
            apps = {one["name"] for one in client.get("/applications").json} - {"watcher", "all"}
            if not (channels or things or apps) or time.monotonic() > deadline:
                return ["still there: " + thing for thing in things + [one["name"] for one in channels] + sorted(apps)]
            for path in things:
                client.delete(path)


def left_over(stasis):
    """What a model still holds that should have gone with the channels and bridges."""
    tables = ("channels", "channels_by_name", "bridges", "playbacks", "live_recordings", "voices")
    return ["left over: " + name for name in tables if getattr(stasis, name)] + ["left over: a timer"] * bool(stasis.next_due())


@in_process
class TestStorm:
    """All operations at random."""

    @rows("scheme", ("over TCP", "http"), ("over TLS", "https"))
    def test_leaves_everybody_served_and_nothing_behind(self, tmp_path, monkeypatch, caplog, request, scheme):
        """No fault in a thread or the log, no reply or event that Asterisk would not give, and an empty server at the end."""
        seconds, seed, clients = map(int, os.environ.get("ARI_STORM", "1 1 4").split())
        settings, tls = ari_ref.HttpConfig(), None
        if scheme == "https":
            vars(settings).update(is_enabled=False, has_tls=True, tls_address="127.0.0.1", tls_port=0)
            tls = request.getfixturevalue("certificate").server_context()
        before, faults, path = threading.active_count(), [], tmp_path / "ari.conf"
        monkeypatch.setattr(threading, "excepthook", lambda fault: faults.append("".join(traceback.format_exception(*fault[:3]))))
        path.write_text(STORM_CONFIGURATION % (10000, ""))
        with hosting("storm", config=ari_ref.read_config(str(path)), http_config=settings, config_path=str(path),
                     recordings=str(tmp_path), tls=tls, control=True) as (server, client):
            storm = Storm(client.server, path, seconds)
            observer = Observer(client.events("watcher", True))
            threads = [threading.Thread(target=act, args=(random.Random(100 * seed + number),))
                       for number, act in enumerate([storm.listen] + [storm.ask] * clients)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            faults += storm.faults + storm.calm_down(client)
            client.post("/channels/last", {"endpoint": "Local/1@stasis-watcher", "app": "watcher", "timeout": 1})
            client.hasten(0.8)
            observer.thread.join(DEADLINE_SECONDS)      # nobody asks for anything now: a timer ends this call
            faults += observer.faults + ["the call that nobody answers does not end"] * observer.thread.is_alive()
            faults += server.change(left_over) + [record.exc_text for record in caplog.records if record.exc_info]
            observer.events.connection.close()
        deadline = time.monotonic() + DEADLINE_SECONDS
        while threading.active_count() > before and time.monotonic() < deadline:
            time.sleep(0.01)
        faults += ["a thread stays: %s" % thread for thread in threading.enumerate()[before:]]
        if faults:
            pytest.fail("%d requests, %d faults\n%s" % (len(storm.log), len(faults), "\n".join(faults[:20])), pytrace=False)


HELLO = """
import http.client, json, socket, sys
import ari_ref
host = sys.argv[1].split("/")[2]
def ask(method, path):
    connection = http.client.HTTPConnection(host)
    connection.request(method, "/ari" + path, headers={"Authorization": "Basic YXN0ZXJpc2s6YXN0ZXJpc2s="})
    connection.getresponse().read()
    connection.close()
events = socket.create_connection(host.split(":"))
events.sendall(b"GET /ari/events?app=hello&api_key=asterisk:asterisk HTTP/1.1\\r\\nUpgrade: websocket\\r\\nSec-WebSocket-Version: 13\\r\\n"
               b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\\r\\n\\r\\n")
stream = events.makefile("rb")
while stream.readline().strip():
    pass
while True:
    size = stream.read(2)[1]
    size = int.from_bytes(stream.read(2), "big") if size == 126 else size
    event = json.loads(stream.read(size))
    if event["type"] == "StasisStart":
        ask("POST", "/channels/%s/answer" % event["channel"]["id"])
    if event["type"] == "ChannelDtmfReceived":
        ask("DELETE", "/channels/%s" % event["channel"]["id"])
"""


scenes("""
    talking [phones] A call to alice that she has answered, {a}
        POST /channels?endpoint=PJSIP/alice&app={app}&channelId=$a -> 200
        POST {alice}/answer -> 204
        await StasisStart $a
        a = $a
        forget
    both [talking] And one to bob, {b}
        POST /channels?endpoint=PJSIP/bob&app={app}&channelId=$b -> 200
        POST {bob}/answer -> 204
        await StasisStart $b
        b = $b
        forget
""")


@in_process
@script("""
    are listed by their technology [phones] As they are shown (resource_endpoints.c)
        GET /endpoints/PJSIP -> 200 = [{"technology": "PJSIP", "resource": "alice", "state": "online", "channel_ids": []},
            {"technology": "PJSIP", "resource": "bob", "state": "online", "channel_ids": []}]
    take messages [phones] 202, and nothing is seen of it; variables are texts (resource_endpoints.c)
        PUT /endpoints/%1 %2 -> %3
        | by their name | PJSIP/alice/sendMessage | ?from=sip:a&body=hi | 202 || by an address | sendMessage | ?to=pjsip:alice&from=sip:a | 202
        | not with a number by name | PJSIP/alice/sendMessage | {"from": "a", "variables": {"a": 1}} | 400 "Only string values in the 'variables' object allowed"
    that call can be sent elsewhere [call, phones] Before the answer it is the end of the call, without a soft request (chan_pjsip.c, 302)
        POST /channels/{call}/redirect?endpoint=PJSIP/bob -> 204
        {call}: ChannelHangupRequest 16; StasisEnd
        eventually GET /channels/{call} -> 404 "Channel not found"
    that talk can be sent elsewhere, and stay [talking] A request of which nothing is told (REFER)
        POST /channels/{a}/redirect?endpoint=pjsip/bob -> 204
        never about {a}
        POST /channels/{a}/redirect?endpoint=Local/1@x -> 422 "Endpoint technology 'Local' does not match channel technology 'PJSIP'"
    show on whose behalf they are called [talking] The caller of the originator is the connected line (dial.c)
        POST /channels?endpoint=PJSIP/bob&app={app}&channelId=$bob&originator={a} -> 200
            {"connected": {"name": "Alice", "number": "100"}, "caller": {"name": "Bob", "number": "200"}}
    are held over HTTP [talking] The device alone tells it (chan_pjsip.c)
        POST /channels/{a}/hold -> 204
        GET /deviceStates/PJSIP%2Falice -> 200 {"state": "ONHOLD"}
        DELETE /channels/{a}/hold -> 204
        GET /deviceStates/PJSIP%2Falice -> 200 {"state": "INUSE"}
        never about {a}
    are held by who is in their bridge [both, bridge] The device of the other one tells it
        POST /bridges/{bridge}/addChannel?channel={a},{b} -> 204
        await ChannelEnteredBridge {b}
        POST {alice}/hold -> 204
        await ChannelHold {a} {"musicclass": "default"}
        GET /deviceStates/PJSIP%2Fbob -> 200 {"state": "ONHOLD"}
        GET /deviceStates/PJSIP%2Falice -> 200 {"state": "INUSE"}
        POST {alice}/unhold -> 204
        await ChannelUnhold {a}
        GET /deviceStates/PJSIP%2Fbob -> 200 {"state": "INUSE"}
    are in use when they call, once something is signalled [call, phones] The state is reckoned then (chan_pjsip.c)
        GET /deviceStates/PJSIP%2Falice -> 200 {"state": "NOT_INUSE"}
        POST /channels/{call}/ring -> 204
        GET /channels/{call} -> 200 {"state": "Ring"}
        GET /deviceStates/PJSIP%2Falice -> 200 {"state": "INUSE"}
    have functions [talking] Of a channel, and of what is known by name (func_channel.c, func_pjsip_endpoint.c)
        GET /channels/{a}/variable?variable=%1 -> 200 = {"value": "%2"}
        | the kind | CHANNEL(channeltype) | PJSIP || the endpoint | CHANNEL(endpoint) | alice || the formats | CHANNEL(audionativeformat) | (ulaw)
        | the number | CALLERID(ani) | 100 || no number that was called | CALLERID(dnid) || the presentation | CALLERID(pres) | allowed_not_screened
        | the context | PJSIP_ENDPOINT(alice,context) | stasis-{app} || the context of another | PJSIP_ENDPOINT(bob,context) | stasis-{app}
    have no function for [talking] What is not known is no value (func_pjsip_endpoint.c)
        GET /channels/{a}/variable?variable=%1 -> 500 Error With Function "Unable to read provided function"
        | an unknown item | PJSIP_ENDPOINT(alice,nope) || an unknown endpoint | PJSIP_ENDPOINT(none,context)
    in a bridge of their own exchange media themselves, but while one is snooped on [both, bridge] Its technology tells (bridge_native_rtp.c)
        POST /bridges/{bridge}/addChannel?channel={a},{b} -> 204
        await ChannelEnteredBridge {b}
        eventually GET /bridges/{bridge} -> 200 {"technology": "native_rtp"}
        POST /channels/{a}/snoop/$s?spy=both&app={app} -> 200
        await StasisStart $s
        eventually GET /bridges/{bridge} -> 200 {"technology": "simple_bridge"}
        DELETE /channels/$s -> 204
        eventually GET /bridges/{bridge} -> 200 {"technology": "native_rtp"}
    in a bridge of their own tell their peers anew behind a playback [both, bridge] Its packets went through the server meanwhile
        POST /bridges/{bridge}/addChannel?channel={a},{b} -> 204
        await ChannelEnteredBridge {b}
        eventually GET /bridges/{bridge} -> 200 {"technology": "native_rtp"}
        forget
        POST /channels/{a}/play/$p?media=tone:ring -> 201
        await PlaybackStarted $p
        DELETE /playbacks/$p -> 204
        await PlaybackFinished $p
        await ChannelVarset {a} {"variable": "BRIDGEPEER"}
        await ChannelVarset {b} {"variable": "BRIDGEPEER"}
    that were never dialled end with two requests [phones] The second has no cause (chan_pjsip.c)
        POST /channels/create?endpoint=PJSIP/alice&app={app}&channelId=$c -> 200
        await StasisStart $c
        forget
        DELETE /channels/$c -> 204
        $c: ChannelHangupRequest 32 soft; StasisEnd; ChannelVarset STASISSTATUS=SUCCESS; ChannelHangupRequest; ChannelDestroyed 16
""")
class TestTelephoneCalls(Hosted):
    """Telephones as an application sees them, beside the recordings of real ones."""

    def test_do_what_python_says(self, bench, ari, events, phones):
        """Each method of Phone is one of its actions; it returns the telephone, so that one may go on."""
        alice, bob = (bench.find_phone("PJSIP/" + name) for name in ("alice", "bob"))
        for phone, move, state in ((alice, lambda: alice.ring().progress(), "Ringing"), (bob, lambda: bob.ring().answer(), "Up")):
            expect(ari.post("/channels", {"endpoint": phone.name, "app": ari.app}), status=200)
            assert move() is phone and phone.show()["calls"][-1]["state"] == state
        assert alice.refuse("unavailable").wait("") is alice
        assert bench.wait_for_event("ChannelDestroyed")["cause"] == 19
        bob.hold().hold(False).digits("5")
        assert [bench.wait_for_event(kind)["type"] for kind in ("ChannelHold", "ChannelUnhold", "ChannelDtmfReceived")]
        with pytest.raises(ari_ref.AriError):
            bob.ring()


DIALPLAN = b"""
[rings]
exten => 1,1,Ringing()
 same => n,Progress()
 same => n,Answer()
 same => n,Wait(60)
exten => 2,1,Hangup(17)
exten => 3,1,Hangup()
exten => 4,1,Set(Q=v)
 same => n,Goto(1,3)
"""


@in_process
@script("""
    rings, makes progress and answers Each step that takes no time is told by what comes of it
        POST /channels?endpoint=Local/1@rings&app={app}&channelId=$near&otherChannelId=$far -> 200
        $near: Dial; ChannelStateChange Ringing; Dial RINGING; Dial PROGRESS; ChannelStateChange Up; Dial ANSWER
    hangs up With the cause that it says, else 16
        POST /channels?endpoint=Local/%1@rings&app={app}&channelId=$near&otherChannelId=$far -> 200
        $near: Dial; ChannelHangupRequest %2; Dial %3; ChannelDestroyed %2
        | with user busy | 2 | 17 | BUSY || without a cause | 3 | 16 | NOANSWER
    goes on elsewhere With the variables that it has set
        POST /channels?endpoint=Local/4@rings&app={app}&channelId=$near&otherChannelId=$far -> 200
        await ChannelStateChange {"channel": {"id": "$near", "state": "Up"}}
        GET /channels/$far/variable?variable=Q -> 200 = {"value": "v"}
""")
class TestDialplanSteps:
    """What the steps of extensions.conf do to a call (pbx_builtins.c)."""

    @pytest.fixture
    def ari(self):
        with hosting("steps", dialplan=ari_ref.parse_extensions(DIALPLAN)) as (_, client):
            yield client


@in_process
class TestChannelVars:
    """What `channelvars` of ari.conf shows beside plain variables (stasis_channels.c, ast_channel_snapshot_create)."""

    def test_may_be_functions(self):
        """As they read when the channel is published; "" for what is none."""
        with hosting("vars", channelvars=["CHANNEL(state)", "CHANNEL(audionativeformat)", "CALLERID(num) ", "X(y)", "X"]) as (_, client):
            events = client.events()
            _, far = client.pair(events, callerId="Ann <12>")
            expect(client.get("/channels/" + far), status=200, has={
                "channelvars": {"CHANNEL(state)": "Up", "CHANNEL(audionativeformat)": "(slin192)", "CALLERID(num) ": "12",
                                "X(y)": "", "X": ""}})


@in_process
class TestFolders:
    """Where an Asterisk of a distribution has its files (main/asterisk.c)."""

    @rows("names, folder", ("of data", "ASTVARLIBDIR ASTDBDIR ASTKEYDIR ASTDATADIR", "/var/lib/asterisk"),
          ("of configuration", "ASTETCDIR", "/etc/asterisk"))
    def test_are_built_in_variables(self, names, folder):
        """As global ones read."""
        with hosting("folders") as (_, client):
            for name in names.split():
                expect(client.get("/asterisk/variable?variable=" + name), status=200, json={"value": folder})


@in_process
class TestFaultsStayAlone:
    """A fault of the module costs what it happened in, is logged with its place, and touches nobody else."""

    @pytest.fixture
    def ari(self):
        with hosting("fault", clock="manual") as (_, client):
            yield client

    @pytest.fixture
    def is_logged(self, caplog):
        """Wait for this text in the log."""
        return lambda text: until(lambda: text in caplog.text)

    def fault(self, *_, **__):
        raise ZeroDivisionError("a fault that a test has made")

    def test_in_a_command_of_a_channel(self, ari, events, call, monkeypatch, is_logged):
        """What waits behind it has its turn."""
        for word in "pqr":
            play(ari, call.far, "tone:ring", word=word)
        events.expect("PlaybackStarted", playback=ari.id("p"))
        begin = ari_ref.Playback.begin
        monkeypatch.setattr(ari_ref.Playback, "begin", lambda one: self.fault() if one.id == ari.id("q") else begin(one))
        expect(ari.delete("/playbacks/" + ari.id("p")), status=204)
        events.expect("PlaybackStarted", playback=ari.id("r"))
        is_logged("a fault that a test has made")

    def test_in_a_timer(self, ari, is_logged):
        """Those that are due with it go off."""
        fired = []
        for action in (self.fault, lambda: fired.append("next")):
            ari.server.module.change(lambda stasis, action=action: ari_ref.Timer(stasis).set(1, action))
        ari.server.module.advance(1)
        assert fired == ["next"]
        is_logged("a fault that a test has made")

    def test_in_a_request(self, ari, monkeypatch, caplog, is_logged):
        """500, which is no answer of Asterisk, with one traceback in the log; the connection goes on."""
        monkeypatch.setattr(ari_ref, "Bridge", self.fault)
        expect(ari.post("/bridges"), status=500, json=message("Internal error"), closes=False)
        is_logged("a fault of ari_ref in POST /ari/bridges")
        assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [ZeroDivisionError]
        expect(ari.get("/bridges"), status=200)

    def test_in_a_connection(self, ari, monkeypatch, is_logged):
        """It ends, and others come and go."""
        monkeypatch.setattr(ari_ref.HttpConnection, "serve", self.fault)
        assert ari.get("/asterisk/ping").problem
        is_logged("the connection from")
        monkeypatch.undo()
        ari.part()
        expect(ari.get("/asterisk/ping"), status=200)

    def test_in_the_audio(self, ari, events, monkeypatch, is_logged):
        """It is told, and the next 20 ms have their turn."""
        carried, carry = [], ari_ref.Rtp.carry
        monkeypatch.setattr(ari_ref.Rtp, "carry", lambda rtp, tick: carry(rtp, tick) if carried else carried.append(tick) or self.fault())
        with Program(ari) as program:
            channel, bridge = program.open("x", events), ari.bridge()
            is_logged("a fault of ari_ref in the audio")
            add(ari, bridge, channel)
            expect(ari.post("/bridges/%s/play" % bridge, {"media": "tone:ring"}), status=201)
            assert len(program.packet()[5]) == 160

    def test_in_the_work_on_files(self, tmp_path, monkeypatch, is_logged):
        """The recording goes on without a file."""
        with hosting("files", recordings=str(tmp_path / "made")) as (server, client):
            monkeypatch.setattr(server.files, "begin", self.fault)
            record(client, "/bridges/" + client.bridge())
            is_logged("a fault of ari_ref with the files of the recording " + client.id("r"))
            expect(client.get("/recordings/live/" + client.id("r")), status=200)


@in_process
class TestRecordingWithABeep:
    """A beep comes before a recording, if there is that sound (res_stasis_recording.c; main/app.c, ast_play_and_record)."""

    @pytest.fixture
    def begun(self, tmp_path):
        """A client of a server that has this sound alone, of a second; its events, and a recording of a far leg that begins with a beep."""
        @contextlib.contextmanager
        def begin(sound):
            (tmp_path / "en").mkdir()
            wav_of(tmp_path / "en" / (sound + ".wav"), bytes(16000))
            with hosting("beep", clock="manual", sounds=str(tmp_path)) as (_, client):
                events = client.events()
                yield client, events, record(client, "/channels/" + client.pair(events)[1], beep="true")
        return begin

    def test_can_be_paused_while_it_beeps(self, begun):
        """It is shown to be paused, and to record when it goes on (control.c)."""
        with begun("beep") as (client, events, name):
            events.expect("RecordingStarted", recording=name)
            for method, state in (("POST", "paused"), ("DELETE", "recording")):
                expect(client.request(method, "/recordings/live/%s/pause" % name), status=204)
                expect(client.get("/recordings/live/" + name), status=200, has={"state": state})

    def test_is_over_at_once_without_that_sound(self, begun):
        """RecordingStarted and RecordingFinished, and nothing is stored."""
        with begun("other") as (client, events, name):
            expect_lines(events, name, ["RecordingStarted recording", "RecordingFinished recording"])
            for kind in ("live", "stored"):
                expect(client.get("/recordings/%s/%s" % (kind, name)), **NO_RECORDING)


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
        curls = [line for line in self.commands() if line.startswith("curl")][:3]
        listen, = [line.split()[3:] for line in self.commands() if " --listen " in line]
        with serving("--config", SAMPLE) as (_, url):
            calls = [line.replace("http://127.0.0.1:8088/ari", url) for line in curls]
            listener = subprocess.Popen([sys.executable, program(), *listen, url.replace("//", "//asterisk:asterisk@")], stdout=subprocess.PIPE)
            deadline = time.monotonic() + 10
            while get(url, path="/applications/hello") != 200:
                assert time.monotonic() < deadline
            shown = [line for line in self.commands() if line.startswith("{")]
            reply = subprocess.run(["sh", "-c", calls[0]], stdout=subprocess.PIPE).stdout.decode()
            assert reply.startswith(shown[0].rstrip("."))
            first = listener.stdout.readline().decode()
            assert re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+", "T", first).startswith(re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+", "T", shown[1].rstrip(".")))
            for call in calls[1:]:
                assert subprocess.run(["sh", "-c", call], stdout=subprocess.PIPE).returncode == 0
            assert get(url, path="/channels/call-1") == 404
            listener.terminate()
            listener.wait()
            listener.stdout.close()

    def test_the_service_of_other_languages(self):
        """Each curl of /control does what it says."""
        if not shutil.which("curl"):
            pytest.skip("no curl")
        commands = [line for line in self.commands() if line.startswith("curl") and "/control/" in line]
        with serving("--config", SAMPLE, "--control") as (_, url):
            assert get(url) == 200
            for line in commands:
                line = line.replace("http://127.0.0.1:8088/ari", url).replace("http://127.0.0.1:8088", url[:-len("/ari")])
                done = subprocess.run(["sh", "-c", line.replace("curl", "curl -s -o /dev/null -w '%{http_code}'", 1)], stdout=subprocess.PIPE)
                assert done.stdout in (b"200", b"204"), line
        assert len(commands) == 6

    def printed(self, option):
        """What this file prints with an option."""
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            assert main([option]) == 0
        return printed.getvalue()

    def test_the_contract_is_an_ari_conf(self):
        """--contract of this file: four users, and a warning of the one without a password."""
        config = ari_ref.read_config(self.printed("--contract"))
        assert list(config.users) == ["asterisk", "reader", "crypted", "nopass"] and len(config.warnings) == 1

    def test_the_export_is_complete(self):
        """--export of this file: every case with all that its head promises, and no name that nothing explains."""
        suite = jsonlib.loads(self.printed("--export"))
        assert len(suite["cases"]) >= 400 and list(suite["contract"]) == list(CONTRACT)
        for case in suite["cases"]:
            assert list(case) == "chapter section sentence rule setting needs steps".split() and case["chapter"] and case["steps"]
            known = {"app", "root", *case["needs"]}
            for step in case["steps"]:
                assert set(re.findall(r"\{([A-Za-z]\w*)\}", str(step))) <= known, (case["sentence"], step)
                known.add(step.get("name"))

    def test_the_commands_of_make(self):
        """make help lists every target that the README names."""
        with open(os.path.join(HERE, "Makefile"), encoding="utf-8") as file:
            targets = set(re.findall(r"^(\w+):", file.read(), re.M))
        assert {line.split()[1] for line in self.commands() if line.startswith("make ")} <= targets

    def test_the_test_as_shown(self, tmp_path):
        """conftest.py and test run as they stand, with an application that answers, and hangs up at a digit."""
        with open(os.path.join(HERE, "README"), encoding="utf-8") as file:
            blocks = re.findall(r"^    import [^#]*\n(?:    .*\n|\n(?=    ))+", file.read(), re.M)
        for name, block in zip(("conftest.py", "test_hello.py"), blocks):
            (tmp_path / name).write_text(textwrap.dedent(block))
        (tmp_path / "hello.py").write_text(HELLO)
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)], cwd=str(tmp_path), stdout=subprocess.PIPE,
                              env={**os.environ, "PYTHONPATH": HERE}, timeout=60)
        assert b"1 passed" in done.stdout, done.stdout.decode()


def heading(name):
    """The name of a class as words."""
    return re.sub("(?<!^)(?=[A-Z])", " ", name[4:]).lower()


READING = """
How to read: a chapter, a section and what it is about, sentences that begin with their section, each with its rule and the C
function of Asterisk 16.30.1 that makes it (of the file that the section names).  "..." is ended by the rows below.  Where a case
is told as text, its steps stand there: what is asked, what comes back, which events come; %1 stands for the first value of a row,
{name} for what the setting in brackets has, $word for an id.  What the steps mean is at the head of test_ari_ref.py.
[departure]: ari_ref refuses or does here what Asterisk does not (README, by its number); who speaks like Asterisk fails it.

    leg              one of the two channels of a Local call: the near one (;1) was made by the request, the far one (;2) runs the
                     dialplan; both are a pair
    place            context, extension and priority in the dialplan
    told, hears      sent as an event; gets events of it
    without a word   without an event
    reader           a user with read_only = yes
    soft             the flag of a ChannelHangupRequest that asks a channel to end
"""


class Sentences:
    """What is collected, as a specification: first what is seen on the wire, then what holds of the module alone."""

    def pytest_collection_finish(self, session):
        chapter = section = case = None
        print(READING.strip() + "\n\nThe members of objects and events, in this order; ? may be missing; behind those of an event\n"
              "stand asterisk_id and application.")
        for _, members in OBJECTS:
            print("    " + members)
        for kind, members in EVENTS.items():
            print("    %s: %s" % (kind, members))
        for item in sorted(session.items, key=lambda item: REPORT.chapter_of(item.location)[:1] == "("):
            if REPORT.chapter_of(item.location) != chapter:
                chapter = REPORT.chapter_of(item.location)
                print("\n" + chapter)
            if item.cls is not section:
                section = item.cls
                print("  " + with_rule(heading(section.__name__ if section else ""), section))
            sentence, _, row = item.name[5:].partition("[")
            if (section, sentence) != case:
                case, needed = (section, sentence), [name.rpartition(".")[2] for name in getattr(item.function, "settings", ())]
                marks = needed or ["departure"] * ("departure" in item.fixturenames)
                words = getattr(item.function, "sentence", sentence.replace("_", " ")) + (row and " ...")
                print("    " + with_rule(words + (" [%s]" % ", ".join(marks) if marks else ""), item.obj))
                for line in getattr(item.function, "text", ()):
                    print("        " + line)
            if row and not hasattr(item.function, "text"):
                print("        | " + row[:-1])


def with_rule(words, documented):
    """Words, and the first paragraph of a docstring."""
    rule = " ".join((documented.__doc__ or "").split("\n\n")[0].split())
    return words + (rule and ": " + rule)


def exported():
    """The cases of conformance that are told as text, as the head of this file says."""
    cases = []
    for case in TOLD:
        steps, chapter = list(flat(case["settings"], case["steps"], set())), REPORT.chapter_of((__file__, case["line"]))
        needs = [step["need"] for step in steps if "need" in step]
        if set(needs) <= {*CONTRACT, "departure"} and not chapter.startswith("("):            # what needs more is set up in Python
            setting = [SCENES[name][1] if name in SCENES else CONTRACT.get(name, (0, 0, name))[2] for name in case["settings"]]
            cases.append({"chapter": chapter, "section": heading(case["section"]), "sentence": case["sentence"], "rule": case["rule"],
                          "setting": setting, "needs": needs, "steps": [step for step in steps if "need" not in step]})
    contract = {name: {"variable": variable, "value": value, "what": what} for name, (variable, value, what) in CONTRACT.items()}
    return {"contract": contract, "lines": OWN_WORDS, "cases": cases}


def main(arguments):
    """--contract, --list or --export; the exit status."""
    if arguments == ["--contract"]:
        print(CONFIGURATION.format(pretty="no").strip() + "\n")
        for variable, value, what in CONTRACT.values():
            print("; %-24s %-25s %s" % (variable or "-", value, what))
        return 0
    if arguments == ["--list"]:
        return int(pytest.main(["--collect-only", "-p", "no:terminal", "-p", "no:cacheprovider", __file__], [Sentences()]))
    if arguments == ["--export"]:
        print(jsonlib.dumps(exported(), indent=1))
        return 0
    print("usage: test_ari_ref.py --contract | --list | --export", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
