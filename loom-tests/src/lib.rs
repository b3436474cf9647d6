//! loom models live in `tests/`; run them with `ci/loom.sh`.
