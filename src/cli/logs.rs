//! `logs`: what a project's containers printed, and with `-f` what they go on printing.
//!
//! ```text
//! list --> a task for each container --pieces--> channel --> LogMux --> standard output
//! events (start) --> one more task               ^
//! events (die)   --> fewer to wait for ----------+ ends when none is left
//! ```

use std::collections::HashSet;
use std::sync::Arc;

use clap::Args;
use futures_util::StreamExt;
use tokio::sync::mpsc;

use crate::cli::target::Target;
use crate::cli::{CommandError, CommandResult, Context, ExitStatus};
use crate::ui::log_mux::{LogMux, LogStyle, Output, Prefix, Streams};
use crate::ui::{Colour, Ui};
use hoist::engine::member::{Member, OneOffs, Stopped, members};
use hoist::engine::stream::Channel;
use hoist::engine::{
    Engine, EngineResult, EventRequest, LogLine, LogOptions, LogStream, Stream, label,
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
    Failed(CommandError),
}

/// Prints logs.
pub(super) async fn cmd_logs(ui: &Ui, context: &Context, args: &LogsArgs) -> CommandResult {
    if args.index > 0 && args.services.len() != 1 {
        return Err(CommandError::user(
            "--index requires one service to be selected",
        ));
    }
    let target = context.target(ui).await?;
    let engine = context.engine().await?;
    // The events come first, so that no container slips in between.
    let events = if args.follow {
        Some(follow_events(engine.as_ref(), &target.name).await?)
    } else {
        None
    };
    let found = members(
        engine.as_ref(),
        &target.name,
        OneOffs::Exclude,
        Stopped::Include,
    )
    .await?;
    target.check_services(&args.services)?;
    let shown = found
        .into_iter()
        .filter(|member| is_shown(args, &target, member.service(), member.number()))
        .collect();
    let mut reader = Reader::new(ui, engine, args)?;
    reader.read_all(shown, events, &target).await?;
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

async fn follow_events(engine: &dyn Engine, project: &str) -> EngineResult<Events> {
    let labels = vec![
        format!("{}={project}", label::PROJECT),
        format!("{}=False", label::ONE_OFF),
    ];
    let request = EventRequest {
        labels,
        ..EventRequest::default()
    };
    engine.events(&request).await
}

type Events = Stream<bollard_stubs::models::EventMessage>;

/// Reads the logs of many containers into one multiplexer.
struct Reader<'a> {
    engine: Arc<dyn Engine>,
    args: &'a LogsArgs,
    options: LogOptions,
    mux: LogMux,
    sender: mpsc::Sender<News>,
    receiver: mpsc::Receiver<News>,
    reading: usize,
}

impl<'a> Reader<'a> {
    fn new(ui: &Ui, engine: Arc<dyn Engine>, args: &'a LogsArgs) -> Result<Self, CommandError> {
        let (sender, receiver) = mpsc::channel(256);
        let style = LogStyle {
            prefix: if args.no_log_prefix {
                Prefix::None
            } else {
                Prefix::Name
            },
            colour: if args.no_color {
                Colour::Off
            } else {
                ui.stdout_colour()
            },
            streams: Streams::Merged,
        };
        Ok(Self {
            engine,
            args,
            options: options(args)?,
            mux: LogMux::new(style),
            sender,
            receiver,
            reading: 0,
        })
    }

    async fn read_all(
        &mut self,
        shown: Vec<Member>,
        events: Option<Events>,
        target: &Target,
    ) -> Result<(), CommandError> {
        // All names are known before the first line, so that the prefixes do not jump.
        for member in &shown {
            self.mux.source(member.log_name());
        }
        let mut alive: HashSet<String> = HashSet::new();
        for member in &shown {
            self.start(member.id(), member.log_name(), self.options.clone())
                .await?;
            alive.insert(member.id().to_owned());
        }
        match events {
            None => self.drain().await,
            Some(events) => self.follow(events, alive, target).await,
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
    async fn drain(&mut self) -> Result<(), CommandError> {
        while self.reading > 0 {
            self.next().await?;
        }
        Ok(self.mux.flush()?)
    }

    async fn next(&mut self) -> Result<(), CommandError> {
        if self.receiver.is_empty() {
            self.mux.flush()?;
        }
        let news = self.receiver.recv().await;
        self.take(news.expect("a sender is kept here"))
    }

    fn take(&mut self, news: News) -> Result<(), CommandError> {
        match news {
            News::Line(source, line) => {
                let output = match line.channel {
                    Channel::Stdout => Output::Out,
                    Channel::Stderr => Output::Error,
                };
                Ok(self.mux.write(source, output, &line.bytes)?)
            }
            News::End(source) => {
                self.reading -= 1;
                Ok(self.mux.end(source)?)
            }
            News::Failed(error) => Err(error),
        }
    }

    async fn follow(
        &mut self,
        mut events: Events,
        mut alive: HashSet<String>,
        target: &Target,
    ) -> Result<(), CommandError> {
        loop {
            if self.receiver.is_empty() {
                self.mux.flush()?;
            }
            tokio::select! {
                biased;
                news = self.receiver.recv() => self.take(news.expect("a sender is kept here"))?,
                event = events.next() => match event {
                    Some(event) => self.event(&event?, &mut alive, target).await?,
                    None => return self.drain().await,
                },
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
        target: &Target,
    ) -> Result<(), CommandError> {
        let Some(actor) = &event.actor else {
            return Ok(());
        };
        let (Some(id), Some(attributes)) = (&actor.id, &actor.attributes) else {
            return Ok(());
        };
        let attribute = |key: &str| attributes.get(key).map_or("", String::as_str);
        let number = attribute(label::CONTAINER_NUMBER).parse().ok();
        if !is_shown(self.args, target, attribute(label::SERVICE), number) {
            return Ok(());
        }
        match event.action.as_deref() {
            Some("start") => {
                let options = LogOptions {
                    since: event.time.map(|time| time.to_string()),
                    tail: None,
                    ..self.options.clone()
                };
                let name = log_name(attributes);
                self.start(id, &name, options).await?;
                alive.insert(id.clone());
            }
            Some("die") if !self.restarts(id).await => {
                alive.remove(id);
            }
            _ => {}
        }
        Ok(())
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
            Err(error) => News::Failed(error.into()),
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
