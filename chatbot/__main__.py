"""`python -m chatbot`, and the `chatbot` command."""

from __future__ import annotations


def main() -> None:
    from chatbot.cli.main import run

    run()


if __name__ == "__main__":
    main()
