"""`python -m tests.docs`: how many samples the documents have, and what becomes of each."""

from __future__ import annotations

import sys

from tests.docs.account import Account, account_for


def main() -> int:
    """Print the counts, and every sample that is not run here."""
    account: Account = account_for()
    print(account.table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
