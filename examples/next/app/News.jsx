'use client';

import { useState } from 'react';
import { useEvents } from './useEvents.js';

export function News() {
  const { events, state } = useEvents('/api/events?history=10');
  const [problem, setProblem] = useState('');

  async function publish(event) {
    event.preventDefault();
    const form = event.currentTarget;
    const text = new FormData(form).get('text');
    const answer = await fetch('/api/publish', { method: 'POST', body: JSON.stringify({ text }) });
    setProblem(answer.ok ? '' : (await answer.json()).detail);
    if (answer.ok) {
      form.reset();
    }
  }

  return (
    <section>
      <p data-state={state}>{state}</p>
      <form onSubmit={publish}>
        <input name="text" aria-label="Text" /> <button>Publish</button> <span role="alert">{problem}</span>
      </form>
      <ul>
        {events.map((event) => <li key={event.id}>{JSON.parse(event.data).text}</li>)}
      </ul>
    </section>
  );
}
