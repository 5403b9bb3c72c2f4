//! Answers a question about a picture with the model of the page:
//!
//! ```sh
//! cargo run --example describe -- www/examples/shapes.png "What color is the triangle?"
//! ```

use std::io::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

use instructblip_web::checkpoint::Folder;
use instructblip_web::pace::Pace;
use instructblip_web::session::{AskOptions, Session, TokenEvent};
use instructblip_web::{Error, Result, gpu};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/www/pocket");

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(picture) = arguments.next() else {
        eprintln!("usage: describe PICTURE [QUESTION]");
        return ExitCode::FAILURE;
    };
    let question = arguments.next().unwrap_or_else(|| "Describe the picture in detail.".into());
    let say = |text: &str| {
        print!("{text}");
        // Where nobody reads on, there is nobody to tell.
        let _ = std::io::stdout().flush();
    };
    if let Err(error) = answer(picture.as_ref(), &question, say) {
        eprintln!("error [{}]: {error}", error.code());
        return ExitCode::FAILURE;
    }
    println!();
    ExitCode::SUCCESS
}

/// Opens the model, looks at the picture and answers; `say` gets the text as it comes.
pub fn answer(picture: &Path, question: &str, mut say: impl FnMut(&str)) -> Result<String> {
    let bytes = std::fs::read(picture).map_err(|error| Error::io(picture, error))?;
    let mut session = Session::open(&Folder::open(MODEL)?, &gpu::open()?, |_| ())?;
    let (options, pace) = (AskOptions::default(), Pace::default());
    // All work on the GPU is awaited, as in a browser.
    let answer = pollster::block_on(async {
        session.set_picture(&bytes, &pace).await?;
        let mut token = |token: &TokenEvent| {
            say(&token.text);
            ControlFlow::Continue(())
        };
        session.ask(question, &options, &pace, &mut token).await
    })?;
    Ok(answer.text)
}
