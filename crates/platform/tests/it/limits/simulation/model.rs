//! The slow exact simulation: no state but the history. Scopes are the tenants 0 and 1, then the keys 2 to 5.

use super::super::MS;
use orrery_platform::limits::{LimitKind, Now, Rate, month_start_ms};
use orrery_store::{Limits, Spent};

const MINUTE_NS: i128 = 60_000_000_000;

#[derive(Default)]
pub struct Model {
    scopes: [Scope; 6],
    requests: u64,
}

#[derive(Default)]
struct Scope {
    limits: Limits,
    requests: Vec<(u64, Event)>,
    tokens: Vec<(u64, Event)>,
    /// By request: the month in which it came, what is reserved and what is spent.
    sums: Vec<(u64, i64, Spent, Spent)>,
    live: Vec<u64>,
}

#[derive(Clone, Copy, PartialEq)]
enum Event {
    Limit(u64),
    /// By request.
    Charge(u64, u64),
}

pub struct Request {
    id: u64,
    pub key: usize,
    month_ms: i64,
}

/// Shares of a token that are in use at `now_ns`; `None` without a limit.
fn level(history: &[(u64, Event)], now_ns: u64) -> Option<i128> {
    let (mut level, mut limit, mut at_ns) = (0, None, 0);
    for (time_ns, event) in history.iter().copied().chain([(now_ns, Event::Charge(0, 0))]) {
        level = (level - i128::from(limit.unwrap_or(0)) * i128::from(time_ns - at_ns)).max(0);
        at_ns = time_ns;
        match event {
            Event::Limit(new) => limit = Some(new),
            Event::Charge(_, amount) => level += i128::from(amount) * MINUTE_NS,
        }
    }
    limit.map(|_| level)
}

fn set_limit(history: &mut Vec<(u64, Event)>, limit: Option<u64>, now_ns: u64) {
    match limit {
        None => history.clear(),
        Some(limit) => history.push((now_ns, Event::Limit(limit))),
    }
}

fn charge(history: &mut Vec<(u64, Event)>, id: u64, amount: u64, now_ns: u64) {
    if !history.is_empty() {
        history.push((now_ns, Event::Charge(id, amount)));
    }
}

fn amend(history: &mut [(u64, Event)], id: u64, now_amount: u64) {
    for (_, event) in history {
        if matches!(event, Event::Charge(of, _) if *of == id) {
            *event = Event::Charge(id, now_amount);
        }
    }
}

fn fits(history: &[(u64, Event)], limit: Option<u64>, asked: u64, now_ns: u64) -> bool {
    let Some((level, limit)) = level(history, now_ns).zip(limit) else { return true };
    level + i128::from(asked) * MINUTE_NS <= i128::from(limit) * MINUTE_NS
}

impl Scope {
    fn taken(&self, month_ms: i64) -> Spent {
        let mut taken = Spent::default();
        for (_, _, reserved, spent) in self.sums.iter().filter(|(_, month, ..)| *month == month_ms) {
            taken.tokens += reserved.tokens + spent.tokens;
            taken.cost_nano += reserved.cost_nano + spent.cost_nano;
        }
        taken
    }

    fn budgets_fit(&self, month_ms: i64, asked: Spent) -> bool {
        let taken = self.taken(month_ms);
        self.limits.month_tokens.is_none_or(|budget| taken.tokens + asked.tokens <= budget)
            && self.limits.month_cost_nano.is_none_or(|budget| taken.cost_nano + asked.cost_nano <= budget)
    }

    fn admits(&self, now: Now) -> bool {
        self.limits.concurrent_requests.is_none_or(|limit| (self.live.len() as u64) < limit)
            && fits(&self.requests, self.limits.requests_per_minute, 1, now.mono_ns)
            && self.budgets_fit(month_start_ms(now.wall_ms), Spent { tokens: 1, cost_nano: 1 })
    }

    fn has_room(&self, month_ms: i64, most: Spent, now: Now) -> bool {
        fits(&self.tokens, self.limits.tokens_per_minute, most.tokens, now.mono_ns) && self.budgets_fit(month_ms, most)
    }
}

impl Model {
    fn both(&self, key: usize) -> [&Scope; 2] {
        [&self.scopes[key / 2], &self.scopes[2 + key]]
    }

    fn each(&mut self, key: usize, change: impl Fn(&mut Scope)) {
        change(&mut self.scopes[key / 2]);
        change(&mut self.scopes[2 + key]);
    }

    pub fn set_limits(&mut self, key: usize, limits: [Limits; 2], now: Now) {
        for (index, limits) in [key / 2, 2 + key].into_iter().zip(limits) {
            let scope = &mut self.scopes[index];
            if scope.limits.requests_per_minute != limits.requests_per_minute {
                set_limit(&mut scope.requests, limits.requests_per_minute, now.mono_ns);
            }
            if scope.limits.tokens_per_minute != limits.tokens_per_minute {
                set_limit(&mut scope.tokens, limits.tokens_per_minute, now.mono_ns);
            }
            scope.limits = limits;
        }
    }

    pub fn admits(&self, key: usize, now: Now) -> bool {
        self.both(key).into_iter().all(|scope| scope.admits(now))
    }

    /// Through both gates.
    pub fn admits_all(&self, key: usize, most: Spent, now: Now) -> bool {
        let month_ms = month_start_ms(now.wall_ms);
        self.admits(key, now) && self.both(key).into_iter().all(|scope| scope.has_room(month_ms, most, now))
    }

    pub fn has_room(&self, request: &Request, most: Spent, now: Now) -> bool {
        self.both(request.key).into_iter().all(|scope| scope.has_room(request.month_ms, most, now))
    }

    pub fn admit(&mut self, key: usize, now: Now) -> Request {
        self.requests += 1;
        let id = self.requests;
        self.each(key, |scope| {
            scope.live.push(id);
            charge(&mut scope.requests, id, 1, now.mono_ns);
        });
        Request { id, key, month_ms: month_start_ms(now.wall_ms) }
    }

    pub fn reserve(&mut self, request: &Request, most: Spent, now: Now) {
        self.each(request.key, |scope| {
            charge(&mut scope.tokens, request.id, most.tokens, now.mono_ns);
            scope.sums.push((request.id, request.month_ms, most, Spent::default()));
        });
    }

    /// As if it had never come.
    pub fn refuse(&mut self, request: &Request) {
        self.each(request.key, |scope| {
            scope.live.retain(|id| *id != request.id);
            amend(&mut scope.requests, request.id, 0);
        });
    }

    pub fn drop_unreserved(&mut self, request: &Request) {
        self.each(request.key, |scope| scope.live.retain(|id| *id != request.id));
    }

    pub fn settle(&mut self, request: &Request, used: Spent) {
        self.each(request.key, |scope| {
            scope.live.retain(|id| *id != request.id);
            amend(&mut scope.tokens, request.id, used.tokens);
            for (_, _, reserved, spent) in scope.sums.iter_mut().filter(|(id, ..)| *id == request.id) {
                (*reserved, *spent) = (Spent::default(), used);
            }
        });
    }

    /// What a ledger has of the month.
    pub fn spent(&self, scope: usize, wall_ms: i64) -> Spent {
        let month_ms = month_start_ms(wall_ms);
        let mut sum = Spent::default();
        for (_, _, _, spent) in self.scopes[scope].sums.iter().filter(|(_, month, ..)| *month == month_ms) {
            sum.tokens += spent.tokens;
            sum.cost_nano += spent.cost_nano;
        }
        sum
    }

    /// Whether even an unused limit would not do, in this month or the next.
    pub fn is_over_limit(&self, scope: usize, kind: LimitKind, most: Spent) -> bool {
        let limits = &self.scopes[scope].limits;
        match kind {
            LimitKind::Tokens => limits.tokens_per_minute.is_some_and(|limit| most.tokens > limit),
            LimitKind::MonthTokens => limits.month_tokens.is_some_and(|limit| most.tokens > limit),
            LimitKind::MonthCost => limits.month_cost_nano.is_some_and(|limit| most.cost_nano > limit),
            _ => false,
        }
    }

    pub fn rate(&self, scope: usize, tokens: bool, limit: u64, now: Now) -> Option<Rate> {
        let scope = &self.scopes[scope];
        let history = if tokens { &scope.tokens } else { &scope.requests };
        let level = level(history, now.mono_ns).unwrap_or(0);
        let remaining = (i128::from(limit) * MINUTE_NS - level).max(0) / MINUTE_NS;
        // The first whole nanosecond, and then the first whole millisecond, at which nothing is in use.
        let reset_ns = (level + i128::from(limit) - 1) / i128::from(limit);
        let reset_ms = (reset_ns + i128::from(MS) - 1) / i128::from(MS);
        Some(Rate { limit, remaining: remaining as u64, reset_ms: reset_ms as u64 })
    }
}
