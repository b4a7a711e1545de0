# The same as ./run, for those who have just.

set positional-arguments

[private]
default:
    @{{ just_executable() }} --list --unsorted

# See the library at work.
[no-cd]
demo *ARGS:
    '{{ justfile_directory() }}/run' demo "$@"

# All tests, or pytest with ARGS.
test *ARGS:
    ./run test "$@"

# eventspool beside its peers, in one run.
bench *ARGS:
    ./run bench "$@"

# What a track() costs, in instructions.
instructions *ARGS:
    ./run instructions "$@"

# Kill, cut off and starve everything at once.
torture *ARGS:
    ./run torture "$@"

# Change one thing at a time in the pure modules, and see whether a test notices.
mutation *ARGS:
    ./run mutation "$@"

# Lint, format, types, layers, changelog.
check:
    ./run check

# Mend what ruff can mend.
fix:
    .venv/bin/ruff check --fix
    .venv/bin/ruff format

# Rewrite requirements/*.txt from pyproject.toml.
lock *ARGS:
    ./run lock "$@"

# The bill of materials of a full installation.
sbom:
    @./run sbom

# Ask the advisory database about it.
audit *ARGS:
    ./run audit "$@"

# Build the documentation site, or show it: just docs serve.
docs *ARGS:
    ./run docs "$@"

# Build, inspect and try out wheel and sdist.
release-check *ARGS:
    ./run release-check "$@"

# What has to pass before a change is merged.
ci:
    ./run ci
