import type { ComponentChildren, ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";

/**
 * A part of the app that is loaded when it is first needed. Until then, and while
 * it cannot be loaded, the fallback stands; it is tried again when the network is
 * back.
 */
export function later<P extends object>(load: () => Promise<ComponentType<P>>) {
  let loaded: ComponentType<P> | undefined;
  let loading: Promise<unknown> | undefined;
  return function Later({ fallback, ...props }: P & { readonly fallback: ComponentChildren }) {
    const [, setSeen] = useState(0);
    useEffect(() => {
      if (loaded) return;
      let current = true;
      const ask = () => {
        loading ??= load().then((c) => { loaded = c; }).finally(() => { loading = undefined; });
        loading.then(() => { if (current) setSeen((n) => n + 1); }, () => undefined); // the fallback stays
      };
      ask();
      addEventListener("online", ask);
      return () => {
        current = false;
        removeEventListener("online", ask);
      };
    }, []);
    const Part = loaded;
    return Part ? <Part {...props as unknown as P} /> : <>{fallback}</>;
  };
}
