"""Visits the demo's pages as a browser would: does the server answer, does the sign-in work, do the files come."""

from __future__ import annotations

import re
from http.cookiejar import CookieJar
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

TIMEOUT = 20.0  # seconds for one page
LOGIN = "/accounts/login/"
STYLE = "/static/admin/css/base.css"
_TOKEN = re.compile(r'name="csrfmiddlewaretoken" value="(\w+)"')


class PageWrong(Exception):  # noqa: N818 - says what was found
    """A page did not show what it must; the text says which and what came instead."""


def answers(address: str) -> bool:
    """Whether anything answers at an address, whatever it says."""
    try:
        build_opener().open(f"{address}{LOGIN}", timeout=TIMEOUT).close()
    except HTTPError:
        return True
    except (URLError, OSError):
        return False
    return True


class Visitor:
    """A visitor with cookies of its own. Every method raises PageWrong where the answer is not 200."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._opener: OpenerDirector = build_opener(HTTPCookieProcessor(CookieJar()))

    def get(self, path: str) -> str:
        """A page's text."""
        return self.fetch(path).decode()

    def fetch(self, path: str, data: bytes | None = None) -> bytes:
        """What is there, as it comes; with `data`, what answers to posting that."""
        try:
            with self._opener.open(f"{self.address}{path}", data, timeout=TIMEOUT) as answer:
                return bytes(answer.read())
        except HTTPError as error:
            raise PageWrong(f"{path} answered {error.code}") from error
        except (URLError, OSError) as error:
            raise PageWrong(f"{path} did not answer: {error}") from error

    def sign_in(self, name: str, password: str) -> None:
        """Fill in the form of the sign-in page; afterwards the admin must greet this person."""
        token = _TOKEN.search(self.get(LOGIN))
        if token is None:
            raise PageWrong(f"{LOGIN} shows no form")
        fields = {"username": name, "password": password, "csrfmiddlewaretoken": token[1], "next": "/admin/"}
        if 'id="logout-form"' not in self.fetch(LOGIN, urlencode(fields).encode()).decode():
            raise PageWrong(f"{LOGIN} did not let {name} in")
