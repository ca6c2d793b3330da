// What OpenTelemetry and Prometheus see of sessions. Sends itself some requests and prints both.
//
//   node --import ./scripts/typescript.js examples/observability.ts

import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, tracingChannel } from 'node:diagnostics_channel'
import cookie from '@fastify/cookie'
import { ROOT_CONTEXT, SpanStatusCode, context, trace } from '@opentelemetry/api'
import type { Context, ContextManager, Tracer } from '@opentelemetry/api'
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import type { ReadableSpan } from '@opentelemetry/sdk-trace-base'
import Fastify from 'fastify'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import sessions from 'fastify-sessions'
import type { SessionEvent, SessionMessage, SessionOperation, SessionTrace } from 'fastify-sessions'
import { createClient } from 'fastify-sessions/testing'
import { Counter, Histogram, Registry } from 'prom-client'

declare module 'fastify-sessions' {
  interface SessionData { basket: string[] }
}

const operations: SessionOperation[] = ['load', 'commit', 'destroy']
const events: SessionEvent[] = [
  'created', 'rotated', 'destroyed', 'rejected', 'expired', 'corrupt', 'conflict', 'gone', 'failure'
]

// From here to "The application": what you would copy.

type Ended = SessionTrace & { error?: unknown }

/** Calls `begin` when an operation begins, and what that returns when it has ended. */
function onOperation (begin: (operation: SessionOperation) => (ended: Ended) => void) {
  for (const operation of operations) {
    const running = new WeakMap<SessionTrace, (ended: Ended) => void>()
    tracingChannel<unknown, SessionTrace>(`fastify-sessions:${operation}`).subscribe({
      start (trace) { running.set(trace, begin(operation)) },
      asyncEnd (trace) { running.get(trace)?.(trace) },
      end () {},
      asyncStart () {},
      error () {}
    })
  }
}

function onEvent (note: (event: SessionEvent, message: SessionMessage) => void) {
  for (const event of events) {
    subscribe(`fastify-sessions:${event}`, message => note(event, message as SessionMessage))
  }
}

/** A span for each operation, below the span that is active where it begins; to that one go the events. */
function traceSessions (tracer: Tracer) {
  onOperation(operation => {
    const span = tracer.startSpan(`session.${operation}`)
    return ({ session, hash, outcome, error }) => {
      span.setAttributes({ 'session.name': session, 'session.hash': hash ?? '', 'session.outcome': outcome })
      if (error !== undefined) {
        span.setStatus({ code: SpanStatusCode.ERROR })
        span.recordException(error as Error)
      }
      span.end()
    }
  })
  onEvent((event, { session, hash, reason }) => {
    const attributes = { 'session.name': session, 'session.hash': hash ?? '', 'session.reason': reason }
    trace.getActiveSpan()?.addEvent(`session.${event}`, attributes)
  })
}

/** No hashes among the labels: each would be a time series of its own. */
function measureSessions (registry: Registry) {
  const happened = new Counter({
    name: 'sessions_events_total',
    help: 'What happened to sessions',
    labelNames: ['session', 'event', 'reason'],
    registers: [registry]
  })
  const lasted = new Histogram({
    name: 'sessions_operation_seconds',
    help: 'How long sessions were loaded, committed and destroyed',
    labelNames: ['session', 'operation', 'outcome'],
    buckets: [0.001, 0.005, 0.025, 0.1, 0.5, 2.5],
    registers: [registry]
  })
  onEvent((event, { session, reason = '' }) => happened.inc({ session, event, reason }))
  onOperation(operation => {
    const stop = lasted.startTimer({ operation })
    return ({ session, outcome, error }) => {
      stop({ session, outcome: error === undefined ? outcome : 'error' })
    }
  })
}

// What instrumentation brings along in most applications: a span for each request, active in its handlers.
// `@opentelemetry/context-async-hooks` has the context manager, `@fastify/otel` the hooks.

class AsyncContext implements ContextManager {
  readonly #storage = new AsyncLocalStorage<Context>()

  active () {
    return this.#storage.getStore() ?? ROOT_CONTEXT
  }

  with<A extends unknown[], F extends (...args: A) => ReturnType<F>> (
    context: Context, work: F, self?: ThisParameterType<F>, ...args: A
  ) {
    return this.#storage.run(context, () => work.apply(self, args))
  }

  bind<T> (context: Context, target: T): T {
    if (typeof target !== 'function') return target
    return this.#storage.run(context, () => AsyncLocalStorage.bind(target as () => void)) as T
  }

  enable () {
    return this
  }

  disable () {
    this.#storage.disable()
    return this
  }
}

function traceRequests (app: FastifyInstance, tracer: Tracer) {
  const contexts = new WeakMap<FastifyRequest, Context>()
  app.addHook('onRequest', (request, _reply, done) => {
    const span = tracer.startSpan(`${request.method} ${request.routeOptions.url ?? 'unknown'}`)
    contexts.set(request, trace.setSpan(context.active(), span))
    context.with(contexts.get(request)!, done)
  })
  // Again: the body of a request arrives outside of any context.
  app.addHook('preValidation', (request, _reply, done) => context.with(contexts.get(request)!, done))
  app.addHook('onResponse', async request => trace.getSpan(contexts.get(request)!)?.end())
}

// The application

const exporter = new InMemorySpanExporter()
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] })
context.setGlobalContextManager(new AsyncContext())
trace.setGlobalTracerProvider(provider)
const tracer = trace.getTracer('fastify-sessions')
const registry = new Registry()
traceSessions(tracer)
measureSessions(registry)

const app = Fastify()
traceRequests(app, tracer)
await app.register(cookie)
await app.register(sessions, { secret: process.env.SESSION_SECRET ?? 'at least 32 bytes, and not this one' })

app.get('/basket', async request => (await request.session.load()).basket ?? [])
app.post<{ Body: { item: string } }>('/basket', async request => {
  const session = await request.session.load()
  return session.update('basket', (basket = []) => [...basket, request.body.item])
})
app.post<{ Body: { name: string } }>('/login', async ({ body, session }) => session.login(body.name))
app.post('/logout', async ({ session }) => session.logout())
app.get('/metrics', { config: { session: false } }, async (_request, reply) => {
  return reply.type(registry.contentType).send(await registry.metrics())
})

// The requests

const client = createClient(app)
const post = (url: string, body?: object) => client.inject({ method: 'POST', url, body })
await post('/basket', { item: 'Bread' })
await Promise.all([post('/basket', { item: 'Pears' }), post('/basket', { item: 'Coffee' })])
await post('/login', { name: 'Ada' })
await post('/basket', { item: 'more than a session may take '.repeat(3000) })
const copied = await client.cookies()
await post('/logout')
await app.inject({ url: '/basket', headers: { cookie: copied } })
await app.inject({ url: '/basket', headers: { cookie: copied.replace(/.$/, '!') } })

const { body: metrics } = await app.inject('/metrics')
await app.close()
print(exporter.getFinishedSpans())
console.log(`\n${metrics}`)

function print (spans: ReadableSpan[], parent?: string, indent = '') {
  const children = spans.filter(({ parentSpanContext }) => parentSpanContext?.spanId === parent)
  for (const span of children) {
    const outcome = span.attributes['session.outcome'] ?? ''
    const failed = span.status.code === SpanStatusCode.ERROR ? ' failed' : ''
    console.log(`${indent}${span.name} ${outcome}`.trimEnd() + failed)
    for (const { name, attributes } of span.events) {
      console.log(`${indent}  * ${name} ${attributes?.['session.reason'] ?? ''}`.trimEnd())
    }
    print(spans, span.spanContext().spanId, `${indent}  `)
  }
}
