//! Compresses and hashes the files that `get-documentation` serves.
//!
//! Input: the files in `assets/`, and two files of Swagger UI from the archive in its crate.
//! Output in `OUT_DIR`: `NAME.gz` and `NAME.hash` for each file.

use std::error::Error;
use std::fs::{read, read_dir, write};
use std::io::{Cursor, Read, Write};
use std::path::PathBuf;
use std::{env, io};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::ZipArchive;

/// The files of Swagger UI that the API reference loads.
const SWAGGER_UI: [&str; 2] = ["swagger-ui-bundle.js", "swagger-ui.css"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=assets");
    for file in read_dir("assets")? {
        let file = file?;
        compress(&file.file_name().to_string_lossy(), &read(file.path())?)?;
    }
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for index in 0..archive.len() {
        let mut file = archive.by_index(index)?;
        // All paths begin with one folder, which is named after the version.
        let path = file.name()?.into_owned();
        if let Some(name) =
            SWAGGER_UI.into_iter().find(|name| path.ends_with(&format!("/dist/{name}")))
        {
            let mut content = Vec::new();
            file.read_to_end(&mut content)?;
            compress(name, &content)?;
        }
    }
    Ok(())
}

/// Writes `NAME.gz` and `NAME.hash`.
fn compress(name: &str, content: &[u8]) -> io::Result<()> {
    let folder = env::var_os("OUT_DIR").map(PathBuf::from).unwrap_or_default();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    let gzip = encoder.finish()?;
    let hash: String = Sha256::digest(&gzip).iter().take(16).map(|b| format!("{b:02x}")).collect();
    write(folder.join(format!("{name}.gz")), gzip)?;
    write(folder.join(format!("{name}.hash")), hash)
}
