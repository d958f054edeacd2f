//! Named source texts, diagnostics that quote their line, spelling suggestions and content hashes.
