"""The smallest application that the seed's images can run."""

import os

from flask import Flask

app = Flask(__name__)


@app.route("/")
def hello():
    return f"hello from user {os.getuid()}\n"


if __name__ == "__main__":
    app.run(host="0.0.0.0", port=5000)
