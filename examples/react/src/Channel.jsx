import { useEvents } from './useEvents.js';

export function Channel({ name }) {
  const { events, state } = useEvents(`/sse/${encodeURIComponent(name)}?history=10`);

  return (
    <section>
      <h2>{name} <small data-state={state}>{state}</small></h2>
      <ul>
        {events.map((event) => <li key={event.id}>{event.data}</li>)}
      </ul>
    </section>
  );
}
