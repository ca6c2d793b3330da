import type { Session, UserSession } from 'fastify-sessions'
import { deviceName } from './device-name.js'
import { html } from './html.js'
import type { Html } from './html.js'

export interface RecentRequest {
  method: string
  path: string
  /** Milliseconds since the epoch. */
  time: number
}

export const catalogue = ['Bread', 'Coffee', 'Pears', 'Postcard']

export function mainPage (session: Session, devices: readonly UserSession[], storeName: string): string {
  const { principal, authenticatedAt, visits = 0, cart = [], recent = [] } = session
  return layout('Sessions demo', html`
    <header>
      <p class="brand">fastify-sessions <span>demo</span></p>
      <h1>${principal === null ? 'Hello.' : html`Hello, <bdi>${principal}</bdi>.`}</h1>
      <p class="lead">This is visit <strong>${visits}</strong> of this session.
        The count, the cart and the log-in are kept on the server; the browser has only a cookie with an id.</p>
    </header>
    <main>
      ${principal === null ? logIn : loggedIn(principal, authenticatedAt)}
      ${cartSection(cart)}
      ${facts(session, storeName)}
      ${recentRequests(recent)}
      ${devices.length > 0 && deviceList(devices)}
    </main>`)
}

const logIn = html`
  <section aria-labelledby="account">
    <h2 id="account">Log in</h2>
    <form method="post" action="/login">
      <label for="name">Your name</label>
      <div class="line">
        <input id="name" name="name" required maxlength="40" pattern=".*\\S.*" title="A name that is not blank"
          autocomplete="nickname" aria-describedby="no-password">
        <button class="primary">Log in</button>
      </div>
      <label class="check"><input type="checkbox" name="remember" value="yes"> Keep me logged in for 30 days</label>
    </form>
    <p id="no-password" class="note">This is a demo without passwords: any name will do.</p>
  </section>`

function loggedIn (principal: string, since: number | null): Html {
  return html`
  <section aria-labelledby="account">
    <h2 id="account">Account</h2>
    <p>Logged in as <strong><bdi>${principal}</bdi></strong> since ${moment(since)}.
      The log-in gave the session a new id.</p>
    <form method="post" action="/logout">
      <button>Log out</button>
    </form>
    <p class="note">Logging out removes the session from the store. A copy of the cookie is worth nothing then.</p>
  </section>`
}

function deviceList (devices: readonly UserSession[]): Html {
  return html`
  <section aria-labelledby="devices" class="devices">
    <h2 id="devices">Where you are logged in</h2>
    <form method="post" action="/devices/end">
      <ul>${devices.map(device)}</ul>
    </form>
    <form method="post" action="/devices/end-others">
      <button${devices.length === 1 && html` disabled`}>Log out everywhere else</button>
    </form>
    <p class="note">Each is a session in the store. Ending one takes it out of there; its browser notices with its next request.</p>
  </section>`
}

function device ({ handle, ip, userAgent = '', createdAt, lastSeenAt, current }: UserSession): Html {
  const name = deviceName(userAgent)
  return html`
        <li><span><strong>${name}</strong> ${current && html`<em>this one</em>`}
            <span class="quiet">${ip}, since ${moment(createdAt)}${
              lastSeenAt !== undefined && html`, last used ${moment(lastSeenAt)}`}</span></span>
          ${!current && html`<button name="device" value="${handle}" aria-label="End: ${name}">End</button>`}</li>`
}

function cartSection (cart: readonly string[]): Html {
  return html`
  <section aria-labelledby="cart">
    <h2 id="cart">Cart</h2>
    <form method="post">
      <ul class="cart">${catalogue.map(item => cartItem(item, cart.filter(other => other === item).length))}</ul>
    </form>
    <p class="note">${cart.length === 0 ? 'The cart is empty.' : `${plural(cart.length, 'item')} in the cart.`}</p>
  </section>`
}

function cartItem (item: string, count: number): Html {
  const button = (action: string, sign: string, label: string, disabled = false) => html`
        <button class="step" formaction="/cart/${action}" name="item" value="${item}" aria-label="${label}"
          ${disabled && 'disabled'}>${sign}</button>`
  return html`
      <li><span>${item}</span>
        ${button('remove', '\u2212', `Remove one: ${item}`, count === 0)}
        <span class="count"><span class="hidden">in the cart: </span>${count}</span>
        ${button('add', '+', `Add one: ${item}`)}</li>`
}

function recentRequests (recent: readonly RecentRequest[]): Html {
  return html`
  <section aria-labelledby="recent">
    <h2 id="recent">Recent requests</h2>
    <table>
      <caption class="hidden">The last requests of this session, newest first</caption>
      <thead><tr><th scope="col">Method</th><th scope="col">Path</th><th scope="col">Time</th></tr></thead>
      <tbody>${recent.map(({ method, path, time }) => html`
        <tr><td>${method}</td><td>${path}</td><td>${moment(time)}</td></tr>`)}
      </tbody>
    </table>
  </section>`
}

function facts ({ id, createdAt, expiresAt, principal }: Session, storeName: string): Html {
  return html`
  <section aria-labelledby="facts">
    <h2 id="facts">This session</h2>
    <dl>
      <dt>Kept in</dt><dd>${storeName}</dd>
      <dt>Handle</dt><dd>${id === null ? 'none' : html`<code>${id.slice(0, 12)}\u2026</code>`}</dd>
      <dt>Principal</dt><dd><bdi>${principal ?? 'none'}</bdi></dd>
      <dt>Created</dt><dd>${moment(createdAt)}</dd>
      <dt>Expires</dt><dd>${moment(expiresAt)}</dd>
    </dl>
    <p class="note">The handle is a hash of the id in the cookie. It names the session and opens nothing.</p>
  </section>`
}

const day = new Intl.DateTimeFormat('en-GB', { day: 'numeric', month: 'short' })
const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' })

/** The time of today, or day and time, as the clock of the server has it. */
function moment (time: number | null): Html {
  if (time === null) return html`unknown`
  const text = day.format(time) === day.format() ? clock.format(time) : `${day.format(time)}, ${clock.format(time)}`
  return html`<time datetime="${new Date(time).toISOString()}">${text}</time>`
}

function plural (count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

const explanations: Record<number, string> = {
  400: 'The form was not filled in as expected.',
  403: 'The form was sent from another site.',
  404: 'There is no such page.',
  503: 'The store that keeps the sessions does not answer. Your log-in is not lost.'
}

export function errorPage (status: number): string {
  return layout(`Error ${status}`, html`
    <header>
      <p class="brand">fastify-sessions <span>demo</span></p>
      <h1>Error ${status}</h1>
      <p class="lead">${explanations[status] ?? 'That did not work.'}</p>
      <p><a href="/">Back to the demo</a></p>
    </header>`)
}

function layout (title: string, body: Html): string {
  return html`<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>${title}</title>
    <link rel="icon" href="data:,">
    <link rel="stylesheet" href="/style.css">
  </head>
  <body>${body}
  </body>
</html>
`.source
}
