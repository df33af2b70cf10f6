//! `logs`: what a project's containers printed, and with `-f` what they go on printing.
//!
//! ```text
//! list ──> a task for each container ──pieces──> channel ──> LogMux ──> standard output
//! events: create ──> one more to wait for
//!         start ──> one more task
//!         die, destroy ──> one fewer; it ends when none is left
//! ```
//!
//! hoist's own engine may be gone for a moment while its containers run on: the lines are asked for with their time
//! stamps, and reading is taken up again behind the last one.

pub(super) mod runs;
mod stamp;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::cli::logs::runs::Runs;
use crate::cli::logs::stamp::Stamps;
use crate::cli::target::Target;
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::Ui;
use crate::ui::log_mux::{LogMux, LogStyle, Output, Streams};
use hoist::engine::member::{Member, OneOffs, Stopped, members};
use hoist::engine::stream::Channel;
use hoist::engine::{
    Engine, EngineError, EngineResult, EventRequest, LogLine, LogOptions, LogStream, Stream, label,
};

/// Arguments of `logs`.
#[derive(Debug, Args)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent command line switches"
)]
pub(super) struct LogsArgs {
    /// Go on with what is printed later
    #[arg(short, long)]
    follow: bool,
    /// Show only this replica of the service
    #[arg(long, value_name = "N", default_value_t = 0)]
    index: u32,
    /// Print without colours
    #[arg(long)]
    no_color: bool,
    /// Print without the names of the containers
    #[arg(long)]
    no_log_prefix: bool,
    /// Start at this time, or this long ago: 2013-01-02T13:23:37Z, 42m
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Show the last lines of each container
    #[arg(short = 'n', long, value_name = "N", default_value = "all")]
    tail: String,
    /// Show when each line was printed
    #[arg(short, long)]
    timestamps: bool,
    /// End at this time, or this long ago
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Services to show
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// What a reading task tells.
enum News {
    Line(usize, LogLine),
    End(usize),
    Failed(EngineError),
}

/// How following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// Every container has ended.
    All,
    /// The engine went away.
    Lost,
}

/// Between two looks for an engine that went away, and how many there are.
const LOOK: (Duration, u32) = (Duration::from_millis(100), 100);
/// Times that an engine may go away without a line in between.
const PATIENCE: u32 = 5;

/// Prints logs.
pub(super) async fn cmd_logs(ui: &Ui, context: &Context, args: &LogsArgs) -> CommandResult {
    if args.index > 0 && args.services.len() != 1 {
        return Err(CommandError::user(
            "--index requires one service to be selected",
        ));
    }
    let target = context.target(ui).await?;
    let engine = context.engine().await?;
    let mut reader = Reader::new(ui, engine, args, target)?;
    // The events come first, so that no container slips in between.
    let events = if args.follow {
        Some(reader.events().await?)
    } else {
        None
    };
    let shown = reader.shown().await?;
    reader.target.check_services(&args.services)?;
    let alive = shown.iter().map(|member| member.id().to_owned()).collect();
    let mut ended = reader.read_all(&shown, events, alive).await?;
    let mut lost = 0;
    while ended == Ended::Lost && lost < PATIENCE {
        let lines = reader.lines;
        let Some((events, shown)) = reader.find_again().await else {
            break;
        };
        // Nobody will tell of what ended meanwhile.
        let alive = shown
            .iter()
            .filter(|member| !matches!(member.state().as_str(), "exited" | "dead"));
        let alive = alive.map(|member| member.id().to_owned()).collect();
        ended = reader.read_all(&shown, Some(events), alive).await?;
        lost = if reader.lines > lines { 0 } else { lost + 1 };
    }
    Ok(ExitStatus::SUCCESS)
}

/// Without services named, those that are not to be attached to are left out.
fn is_shown(args: &LogsArgs, target: &Target, service: &str, number: Option<u32>) -> bool {
    if args.index > 0 && number != Some(args.index) {
        return false;
    }
    if !args.services.is_empty() {
        return args.services.iter().any(|name| name == service);
    }
    target.project.as_ref().is_none_or(|project| {
        project
            .services
            .get(service)
            .is_some_and(|service| service.attach != Some(false))
    })
}

type Events = Stream<bollard_stubs::models::EventMessage>;

/// Reads the logs of many containers into one multiplexer.
struct Reader<'a> {
    engine: Arc<dyn Engine>,
    args: &'a LogsArgs,
    target: Target,
    options: LogOptions,
    mux: LogMux,
    sender: mpsc::Sender<News>,
    receiver: mpsc::Receiver<News>,
    reading: usize,
    /// Lines so far.
    lines: u64,
    runs: Runs,
    /// By source; only where reading can be taken up again.
    stamps: Option<HashMap<usize, Stamps>>,
}

impl<'a> Reader<'a> {
    fn new(
        ui: &Ui,
        engine: Arc<dyn Engine>,
        args: &'a LogsArgs,
        target: Target,
    ) -> Result<Self, CommandError> {
        let (sender, receiver) = mpsc::channel(256);
        let flags = (args.no_log_prefix, args.no_color);
        let style = LogStyle::from_flags(ui, flags, Streams::Merged);
        let stamps = (args.follow && engine.info().is_own()).then(HashMap::new);
        let mut options = options(args)?;
        options.timestamps |= stamps.is_some();
        Ok(Self {
            engine,
            args,
            target,
            options,
            mux: LogMux::new(style),
            sender,
            receiver,
            reading: 0,
            lines: 0,
            runs: Runs::default(),
            stamps,
        })
    }

    async fn events(&self) -> EngineResult<Events> {
        let labels = vec![
            format!("{}={}", label::PROJECT, self.target.name),
            format!("{}=False", label::ONE_OFF),
        ];
        let request = EventRequest {
            labels,
            ..EventRequest::default()
        };
        self.engine.events(&request).await
    }

    /// The containers whose logs are wanted.
    async fn shown(&self) -> EngineResult<Vec<Member>> {
        let engine = self.engine.as_ref();
        let name = &self.target.name;
        let mut found = members(engine, name, OneOffs::Exclude, Stopped::Include).await?;
        found.retain(|member| is_shown(self.args, &self.target, member.service(), member.number()));
        Ok(found)
    }

    /// Waits for an engine that went away; `None` where it does not come back.
    async fn find_again(&self) -> Option<(Events, Vec<Member>)> {
        for _ in 0..LOOK.1 {
            if let (Ok(events), Ok(shown)) = (self.events().await, self.shown().await) {
                return Some((events, shown));
            }
            tokio::time::sleep(LOOK.0).await;
        }
        None
    }

    async fn read_all(
        &mut self,
        shown: &[Member],
        events: Option<Events>,
        alive: HashSet<String>,
    ) -> Result<Ended, CommandError> {
        // All names are known before the first line, so that the prefixes do not jump.
        for member in shown {
            self.mux.source(member.log_name());
        }
        for member in shown {
            let options = self.onwards(member.log_name());
            self.start(member.id(), member.log_name(), options).await?;
        }
        match events {
            None => self.drain().await,
            Some(events) if alive.is_empty() => {
                drop(events);
                self.drain().await
            }
            Some(events) => self.follow(events, alive).await,
        }
    }

    /// What is asked for of a log: all that the user wants, or, of one that was read before, what came since.
    fn onwards(&mut self, name: &str) -> LogOptions {
        let source = self.mux.source(name);
        let read = self.stamps.as_ref().and_then(|stamps| stamps.get(&source));
        match read.and_then(Stamps::next) {
            Some(since) => LogOptions {
                since: Some(since),
                tail: None,
                ..self.options.clone()
            },
            None => self.options.clone(),
        }
    }

    async fn start(
        &mut self,
        id: &str,
        name: &str,
        options: LogOptions,
    ) -> Result<(), CommandError> {
        let source = self.mux.source(name);
        let stream = match self.engine.logs(id, &options).await {
            Ok(stream) => stream,
            // It went away between the list and now.
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        self.reading += 1;
        tokio::spawn(read(source, stream, self.sender.clone()));
        Ok(())
    }

    /// Takes what comes until every container's log is read.
    async fn drain(&mut self) -> Result<Ended, CommandError> {
        let mut ended = Ended::All;
        while self.reading > 0 {
            if self.receiver.is_empty() {
                self.mux.flush()?;
            }
            let news = self.receiver.recv().await;
            if self.take(news.expect("a sender is kept here"))? == Ended::Lost {
                ended = Ended::Lost;
            }
        }
        self.mux.flush()?;
        Ok(ended)
    }

    /// Answers whether the engine went away.
    fn take(&mut self, news: News) -> Result<Ended, CommandError> {
        match news {
            News::Line(source, line) => {
                let output = match line.channel {
                    Channel::Stdout => Output::Out,
                    Channel::Stderr => Output::Error,
                };
                self.lines += 1;
                let stamps = self
                    .stamps
                    .as_mut()
                    .map(|all| all.entry(source).or_default());
                let bare = stamps.map(|stamps| stamps.strip(&line.bytes));
                let bytes = bare.filter(|_| !self.args.timestamps).unwrap_or(line.bytes);
                self.mux.write(source, output, &bytes)?;
            }
            News::End(source) => {
                self.reading -= 1;
                self.mux.end(source)?;
            }
            News::Failed(_) if self.stamps.is_some() => return Ok(Ended::Lost),
            News::Failed(error) => return Err(error.into()),
        }
        Ok(Ended::All)
    }

    async fn follow(
        &mut self,
        mut events: Events,
        mut alive: HashSet<String>,
    ) -> Result<Ended, CommandError> {
        loop {
            if self.receiver.is_empty() {
                self.mux.flush()?;
            }
            let ended = tokio::select! {
                biased;
                news = self.receiver.recv() => self.take(news.expect("a sender is kept here"))?,
                event = events.next() => match event {
                    Some(Ok(event)) => self.event(&event, &mut alive).await?,
                    Some(Err(error)) if self.stamps.is_none() => return Err(error.into()),
                    Some(Err(_)) | None => Ended::Lost,
                },
            };
            if ended == Ended::Lost {
                self.drain().await?;
                return Ok(if self.stamps.is_some() {
                    Ended::Lost
                } else {
                    Ended::All
                });
            }
            if alive.is_empty() {
                return self.drain().await;
            }
        }
    }

    async fn event(
        &mut self,
        event: &bollard_stubs::models::EventMessage,
        alive: &mut HashSet<String>,
    ) -> Result<Ended, CommandError> {
        let Some(actor) = &event.actor else {
            return Ok(Ended::All);
        };
        let (Some(id), Some(attributes)) = (&actor.id, &actor.attributes) else {
            return Ok(Ended::All);
        };
        let attribute = |key: &str| attributes.get(key).map_or("", String::as_str);
        let number = attribute(label::CONTAINER_NUMBER).parse().ok();
        if !is_shown(self.args, &self.target, attribute(label::SERVICE), number) {
            return Ok(Ended::All);
        }
        self.runs.note(id, event);
        match event.action.as_deref() {
            Some("start") => {
                let options = LogOptions {
                    since: self.runs.since(id, event),
                    tail: None,
                    ..self.options.clone()
                };
                let name = log_name(attributes);
                self.start(id, &name, options).await?;
                alive.insert(id.clone());
            }
            // What replaces a container is there before that one ends.
            Some("create") => {
                alive.insert(id.clone());
            }
            Some("destroy") => {
                alive.remove(id);
            }
            Some("die") if !self.restarts(id).await => {
                alive.remove(id);
            }
            _ => {}
        }
        Ok(Ended::All)
    }

    /// Whether the engine will start a container again by itself.
    async fn restarts(&self, id: &str) -> bool {
        let state = self.engine.inspect_container(id).await.ok();
        state
            .and_then(|container| container.state)
            .and_then(|state| state.restarting)
            .unwrap_or_default()
    }
}

fn log_name(attributes: &std::collections::HashMap<String, String>) -> String {
    let summary = bollard_stubs::models::ContainerSummary {
        names: attributes.get("name").map(|name| vec![name.clone()]),
        labels: Some(attributes.clone()),
        ..bollard_stubs::models::ContainerSummary::default()
    };
    Member { summary }.log_name().to_owned()
}

async fn read(source: usize, mut stream: LogStream, sender: mpsc::Sender<News>) {
    while let Some(item) = stream.next().await {
        let news = match item {
            Ok(line) => News::Line(source, line),
            Err(error) if error.is_not_found() => break,
            Err(error) => News::Failed(error),
        };
        if sender.send(news).await.is_err() {
            return;
        }
    }
    // Nobody listens any more where sending fails, and that is an end too.
    drop(sender.send(News::End(source)).await);
}

fn options(args: &LogsArgs) -> Result<LogOptions, CommandError> {
    let tail = match args.tail.as_str() {
        "all" | "" => None,
        number => Some(number.parse().map_err(|_| {
            CommandError::user(format!("invalid value for --tail: `{number}`"))
                .hinted("give a number of lines or `all`")
        })?),
    };
    Ok(LogOptions {
        follow: args.follow,
        tail,
        since: args.since.clone(),
        until: args.until.clone(),
        timestamps: args.timestamps,
    })
}
