//! The input as a file that can be read twice: once to identify it, once to score it.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::{Context as _, bail};
use guerdon_parquet::RowReader;

/// Bytes at the beginning of a file by which its format is recognised.
const HEAD: usize = 16;

/// Formats that cannot be read, by their first bytes, with the change that helps.
const FOREIGN: [(&[u8], &str, &str); 9] = [
    (b"ARROW1", "an Arrow file", "write its rows as JSON lines or Parquet"),
    (b"PK\x03\x04", "a zip archive", "unpack it"),
    (b"BZh", "compressed with bzip2", "decompress it, or compress it with gzip or zstd"),
    (b"\xfd7zXZ\0", "compressed with xz", "decompress it, or compress it with gzip or zstd"),
    (b"\x04\x22\x4d\x18", "compressed with lz4", "decompress it, or compress it with gzip or zstd"),
    (b"SQLite format 3\0", "an SQLite database", "write its rows as JSON lines"),
    (b"\x89HDF", "an HDF5 file", "write its rows as JSON lines"),
    (b"\xff\xfe", "UTF-16 text", "save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text", "save it as UTF-8"),
];

/// The device and the inode of a file. Symbolic and hard links to it have the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(crate) fn of(metadata: &std::fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

#[derive(Debug, Clone, Copy)]
enum Format {
    Text,
    Gzip,
    Zstd,
    Parquet,
}

/// An input file. A pipe is copied to a temporary file first.
#[derive(Debug)]
pub(crate) struct InputFile {
    /// The name, for messages.
    pub(crate) name: String,
    /// The file that was named, for the comparison with the output.
    pub(crate) id: FileId,
    file: File,
    format: Format,
}

impl InputFile {
    /// Opens a file; `-` is standard input. Recognises gzip, zstd and Parquet by the content.
    ///
    /// # Errors
    /// The file cannot be read, or has another format.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let is_stdin = path.as_os_str() == "-";
        let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
        let cannot = || format!("cannot read {name}");
        let file = if is_stdin {
            File::from(io::stdin().as_fd().try_clone_to_owned().with_context(cannot)?)
        } else {
            File::open(path).with_context(cannot)?
        };
        let metadata = file.metadata().with_context(cannot)?;
        if metadata.is_dir() {
            bail!("cannot read {name}: it is a folder; name a file of rollouts in it");
        }
        let id = FileId::of(&metadata);
        let file = if metadata.is_file() { file } else { spooled(file).with_context(cannot)? };
        let format = format(&file, &name)?;
        Ok(Self { name, id, file, format })
    }

    /// True if the file is Parquet, whose content is not text.
    pub(crate) const fn is_parquet(&self) -> bool {
        matches!(self.format, Format::Parquet)
    }

    /// The rows of a Parquet file, from the first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(crate) fn rows(&self) -> anyhow::Result<RowReader> {
        let cannot = || format!("cannot read {}", self.name);
        RowReader::open(self.file.try_clone().with_context(cannot)?).with_context(cannot)
    }

    /// The decompressed content, from the beginning. Of a Parquet file, its bytes.
    pub(crate) fn reader(&self) -> anyhow::Result<BufReader<Box<dyn Read>>> {
        let cannot = || format!("cannot read {}", self.name);
        let mut file = self.file.try_clone().with_context(cannot)?;
        file.rewind().with_context(cannot)?;
        let content: Box<dyn Read> = match self.format {
            Format::Text | Format::Parquet => Box::new(file),
            Format::Gzip => Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(file))),
            Format::Zstd => Box::new(zstd::Decoder::new(file).with_context(cannot)?),
        };
        Ok(BufReader::with_capacity(1 << 16, content))
    }
}

/// The content of a pipe in a temporary file without a name.
fn spooled(mut pipe: File) -> io::Result<File> {
    let mut file = tempfile::tempfile()?;
    io::copy(&mut pipe, &mut file)?;
    file.flush()?;
    Ok(file)
}

fn format(mut file: &File, name: &str) -> anyhow::Result<Format> {
    let cannot = || format!("cannot read {name}");
    // Standard input may be a file that another process has read in part.
    file.rewind().with_context(cannot)?;
    let mut head = Vec::with_capacity(HEAD);
    file.take(HEAD as u64).read_to_end(&mut head).with_context(cannot)?;
    if let Some((_, what, help)) = FOREIGN.iter().find(|(magic, ..)| head.starts_with(magic)) {
        bail!("{name} is {what}, not JSON lines or Parquet\n  help: {help}");
    }
    Ok(match head[..] {
        [0x1f, 0x8b, ..] => Format::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Format::Zstd,
        _ if head.starts_with(guerdon_parquet::MAGIC) => Format::Parquet,
        _ => Format::Text,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(content: &[u8]) -> anyhow::Result<InputFile> {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().write_all(content).unwrap();
        InputFile::open(file.path())
    }

    #[test]
    fn compressed_content_is_read_again_and_again() {
        let text = b"{\"a\": 1}\n".repeat(1000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        for content in
            [text.clone(), gzip.finish().unwrap(), zstd::encode_all(&text[..], 1).unwrap()]
        {
            let file = opened(&content).unwrap();
            for _ in 0..2 {
                let mut read = Vec::new();
                file.reader().unwrap().read_to_end(&mut read).unwrap();
                assert!(read == text);
            }
        }
    }

    #[test]
    fn foreign_formats_are_named() {
        for (magic, what, _) in FOREIGN {
            let error = opened(&[magic, b"and more of the content"].concat()).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
        assert!(opened(b"").is_ok());
        assert!(InputFile::open(Path::new("/")).unwrap_err().to_string().contains("is a folder"));
    }
}
