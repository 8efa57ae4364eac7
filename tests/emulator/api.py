"""Requests to the deployed API, and tokens of the deployed user pool."""

import base64
import hashlib
import hmac
import json
import secrets
import struct
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass


@dataclass
class Response:
    """What the API answered. `body` is `None` if it is not JSON."""

    status: int
    headers: dict
    body: object

    def expect(self, status):
        """Returns the body if the response has this status."""
        assert self.status == status, f"expected {status}, got {self.status}: {self.body}"
        return self.body


class NoRedirect(urllib.request.HTTPRedirectHandler):
    """Returns redirects as they are."""

    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(NoRedirect)


def send(method, url, token=None, body=None, form=None, headers=None):
    """Sends a request, with JSON or a form."""
    headers = dict(headers or {})
    data = None
    if token:
        headers["authorization"] = f"Bearer {token}"
    if body is not None:
        headers["content-type"] = "application/json"
        data = json.dumps(body).encode()
    if form is not None:
        headers["content-type"] = "application/x-www-form-urlencoded"
        data = urllib.parse.urlencode(form).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        response = OPENER.open(request, timeout=60)
    except urllib.error.HTTPError as error:
        response = error
    text = response.read()
    try:
        parsed = json.loads(text)
    except ValueError:
        parsed = None
    names = {name.lower(): value for name, value in response.headers.items()}
    return Response(response.status, names, parsed)


class Api:
    """The deployed API."""

    def __init__(self, url, token):
        self.url = url
        self.token = token

    def get(self, path):
        return send("GET", self.url + path, self.token)

    def post(self, path, body):
        return send("POST", self.url + path, self.token, body)

    def put(self, path, body):
        return send("PUT", self.url + path, self.token, body)

    def delete(self, path):
        return send("DELETE", self.url + path, self.token)

    def post_conversation(self, visibility="public"):
        """Creates a profile and a conversation. Returns the id of one, the path of the other."""
        author = self.post("/profiles", {"first_name": "Ada"}).expect(201)["id"]
        opening = {"subject": "Rehearsal", "author_id": author, "visibility": visibility}
        conversation = self.post("/conversations", opening).expect(201)["id"]
        return author, f"/conversations/{conversation}"


def machine_token(emulator, pool, client_id, scope):
    """Returns an access token by client credentials."""
    cognito = emulator.client("cognito-idp")
    client = cognito.describe_user_pool_client(UserPoolId=pool, ClientId=client_id)[
        "UserPoolClient"
    ]
    credentials = base64.b64encode(f"{client_id}:{client['ClientSecret']}".encode()).decode()
    form = {"grant_type": "client_credentials", "scope": scope}
    headers = {"authorization": f"Basic {credentials}"}
    return send("POST", f"{emulator.url}/oauth2/token", form=form, headers=headers).expect(200)[
        "access_token"
    ]


def sign_in(emulator, client_id, scope, name, password):
    """Returns the tokens of a user who signs in on the page of the pool, with PKCE."""
    verifier = secrets.token_urlsafe(32)
    digest = hashlib.sha256(verifier.encode()).digest()
    redirect = "http://localhost:3000/"
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect,
        "scope": scope,
        "state": "state",
        "code_challenge_method": "S256",
        "code_challenge": base64.urlsafe_b64encode(digest).decode().rstrip("="),
    }
    send("GET", f"{emulator.url}/oauth2/authorize?{urllib.parse.urlencode(query)}")
    form = {**query, "username": name, "password": password}
    answer = send("POST", f"{emulator.url}/login", form=form)
    location = urllib.parse.urlparse(answer.headers.get("location", ""))
    code = urllib.parse.parse_qs(location.query).get("code")
    assert code, f"no code: {answer}"
    form = {
        "grant_type": "authorization_code",
        "client_id": client_id,
        "redirect_uri": redirect,
        "code": code[0],
        "code_verifier": verifier,
    }
    return send("POST", f"{emulator.url}/oauth2/token", form=form).expect(200)


def totp(secret):
    """Returns the current code of an authenticator app (RFC 6238)."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    digest = hmac.new(key, struct.pack(">Q", int(time.time()) // 30), hashlib.sha1).digest()
    offset = digest[-1] & 15
    return f"{(struct.unpack('>I', digest[offset : offset + 4])[0] & 0x7FFFFFFF) % 1_000_000:06}"
