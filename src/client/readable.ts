/** `rqtt/client/readable`: a subscription as a stream of the platform. */
import type { Message, Subscription } from "./subscription.ts";

/** What is not pulled stays unacknowledged; cancelling unsubscribes. */
export const readable = (subscription: Subscription): ReadableStream<Message> =>
  new ReadableStream<Message>(
    {
      async pull(controller) {
        const { value } = await subscription.next();
        if (value) controller.enqueue(value);
        else controller.close();
      },
      cancel: () => subscription.unsubscribe(),
    },
    { highWaterMark: 0 },
  );
