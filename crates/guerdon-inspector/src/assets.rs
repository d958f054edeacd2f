//! The style sheet, the script and the icon.

/// A file of the pages' own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// The file name.
    pub name: &'static str,
    /// The content type.
    pub content_type: &'static str,
    /// The content.
    pub content: &'static str,
}

/// All files.
pub const ASSETS: [Asset; 3] = [
    Asset {
        name: "inspector.css",
        content_type: "text/css; charset=utf-8",
        content: include_str!("assets/inspector.css"),
    },
    Asset {
        name: "inspector.js",
        content_type: "text/javascript; charset=utf-8",
        content: include_str!("assets/inspector.js"),
    },
    Asset {
        name: "icon.svg",
        content_type: "image/svg+xml",
        content: include_str!("assets/icon.svg"),
    },
];

/// The file with this name.
#[must_use]
pub(crate) fn find(name: &str) -> Option<Asset> {
    ASSETS.into_iter().find(|asset| asset.name == name)
}

#[cfg(test)]
mod tests {
    #[test]
    fn script_stays_small() {
        let lines = include_str!("assets/inspector.js").lines().count();
        assert!(lines <= 300, "{lines} lines");
    }
}
