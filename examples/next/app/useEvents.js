import { useEffect, useState } from 'react';

const STATES = ['connecting', 'open', 'closed']; /* by EventSource's readyState */
const AGAIN_MS = 2000;

/* The last events of a stream, and the state of its connection. */
export function useEvents(url, { types = ['message'], limit = 100 } = {}) {
  const [events, setEvents] = useState([]);
  const [state, setState] = useState('connecting');
  const typeList = types.join('\n');

  useEffect(() => {
    let source;
    let timer;
    let lastId = '';

    const take = ({ type, data, lastEventId: id }) => {
      lastId = id;
      setEvents((events) => [...events, { type, data, id }].slice(-limit));
    };

    function open() {
      const address = new URL(url, location.href);
      if (lastId !== '') {
        address.searchParams.set('last_event_id', lastId);
      }
      source = new EventSource(address);
      source.onopen = () => setState('open');
      source.onerror = () => {
        setState(STATES[source.readyState]);
        if (source.readyState === EventSource.CLOSED) {
          timer = setTimeout(open, AGAIN_MS); /* refused: EventSource has given up, we have not */
        }
      };
      typeList.split('\n').forEach((type) => source.addEventListener(type, take));
    }

    setEvents([]);
    setState('connecting');
    open();
    return () => {
      clearTimeout(timer);
      source.close();
    };
  }, [url, typeList, limit]);

  return { events, state };
}
