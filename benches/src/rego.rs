//! What a policy in Rego adds to a create: ten rules, the last of two policies, against the first alone.
//! Both listeners are of one process, so that what disturbs one disturbs the other.

use std::fs::{self, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use crate::http::bad;
use crate::load::{self, Load};
use crate::plan::{DOCKGATE, Run, cells, create};
use crate::process;
use crate::table::{Bar, Row, median};
use crate::targets::{Target, leashed};

const NAME: &str = "create, ten rules in Rego";

impl Run {
    pub(crate) fn rego(&mut self) {
        if self.only.as_ref().is_some_and(|only| !NAME.contains(only.as_str())) {
            return;
        }
        let (target, without) = match self.with_rego() {
            Ok(both) => both,
            Err(error) => return self.notes.push(format!("{NAME}: {error}")),
        };
        let before = std::mem::replace(&mut self.targets, [None, None, Some(target), None]);
        let (rounds, time) = (self.effort.rounds, self.effort.time);
        let load = Load { request: create().into(), status: 201, connections: 16, fresh: false };
        let samples = self.rounds(NAME, rounds, |target| {
            target.forget_log()?;
            let run = |socket: &Path| {
                let sample = load::run(socket, &load, time, || process::cpu_seconds(target.pid()))?;
                Ok::<_, io::Error>(sample.cost * 1e6 / sample.requests as f64)
            };
            Ok((run(&target.socket)?, run(&without)?))
        });
        self.targets = before;
        let Some(samples) = samples else { return };
        let with = samples.each_ref().map(|all| median(all.iter().map(|(with, _)| *with)));
        let bare = samples.each_ref().map(|all| median(all.iter().map(|(_, bare)| *bare)));
        let mut shown = cells(&with);
        for (shown, bare) in shown.iter_mut().zip(cells(&bare)).skip(DOCKGATE).take(1) {
            *shown = format!("{shown} (without: {bare})");
        }
        let added: Vec<f64> = samples[DOCKGATE].iter().map(|(with, bare)| with - bare).collect();
        let row = Row::new(format!("{NAME}: CPU µs each (added)"), shown);
        self.print(row.judge_all(&added, " µs", Some(Bar::AtMost(60.0))));
    }

    /// dockgate with both listeners, and the socket of the one without Rego.
    fn with_rego(&self) -> io::Result<(Target, PathBuf)> {
        let program = self.programs[DOCKGATE].as_ref().ok_or_else(|| bad("no dockgate"))?;
        let dir = self.dir.join("rego");
        fs::create_dir(&dir)?;
        fs::write(dir.join("ten.rego"), include_str!("ten-rules.rego"))?;
        let (with, without) = (dir.join("with.sock"), dir.join("without.sock"));
        let config = dir.join("dockgate.toml");
        let listener = |socket: &Path, policies: &str| {
            let name = socket.file_stem().unwrap_or_default().display().to_string();
            let socket = socket.display();
            format!(
                "[[listener]]\nname = \"{name}\"\nurl = \"unix://{socket}\"\npolicies = [{policies}]\n"
            )
        };
        let text = format!(
            "[engine]\nurl = \"unix://{}\"\n{}{}[policy.ten]\nkind = \"rego\"\nfile = \"ten.rego\"\n",
            self.dir.join("stub.sock").display(),
            listener(&with, "\"conservative\", \"ten\""),
            listener(&without, "\"conservative\""),
        );
        fs::write(&config, text)?;
        let mut command = leashed(program)?;
        command.arg("serve").arg("-c").arg(config);
        let log = OpenOptions::new().create(true).append(true).open(dir.join("access.log"))?;
        Ok((Target::start("dockgate, Rego", &dir, with, command, Some(log))?, without))
    }
}
