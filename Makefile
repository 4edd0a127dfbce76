# What a contributor calls often; each is one command that also works by itself.
.PHONY: setup fast test coverage lint format lock bench docs docs-serve reference samples screenshots

setup: ## everything that the tests and checks need, into .venv
	bash infra/setup.sh

fast: ## every check, and the tests that need no server: about a minute
	bash infra/test.sh --fast

test: ## every check and every test
	bash infra/test.sh

coverage: ## the share of the code that the fast tests run
	bash infra/test.sh --coverage

lint: setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/lint-imports --no-logo
	.venv/bin/mypy

format: setup
	.venv/bin/ruff check --fix
	.venv/bin/ruff format

lock: ## the lock files, from pyproject.toml
	bash infra/lock.sh

bench: setup ## the figures of docs/benchmarks.md: make bench NAME=limit
	.venv/bin/python -P -m benchmarks $(NAME)

screenshots: setup ## the pictures of docs/screenshots, each to be looked at
	.venv/bin/python -P -m tests.screenshots

docs: setup ## the documents as a site, in dist/site
	.venv/bin/python -P -m infra.docs

docs-serve: docs ## and to be looked at, on http://127.0.0.1:8080
	.venv/bin/python -P -m http.server --bind 127.0.0.1 --directory dist/site 8080

reference: setup ## docs/reference, from the code
	.venv/bin/python -P -m infra.reference

samples: setup ## what becomes of every sample in the documents
	.venv/bin/python -P -m tests.docs
