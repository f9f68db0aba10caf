import { Component, type ComponentType, createElement } from "preact";

/** Shows a component again only when one of its properties is another one. */
export function memo<P extends object>(inner: (props: P) => preact.ComponentChild): ComponentType<P> {
  return class Memo extends Component<P> {
    override shouldComponentUpdate(next: P): boolean {
      const now = this.props as Record<string, unknown>;
      return Object.entries(next).some(([name, value]) => now[name] !== value);
    }

    override render(props: P): preact.ComponentChild {
      return createElement(inner as ComponentType<P>, props);
    }
  };
}
