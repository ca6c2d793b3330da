/**
 * What `call` resolves to, if it does so in time. It goes on when it does not; what becomes of it is
 * ignored.
 *
 * @param seconds how long to wait before rejecting
 */
export async function withinTime<T> (seconds: number, call: () => Promise<T>): Promise<T> {
  let timer
  try {
    const limit = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`no answer in ${seconds} s`)), seconds * 1000)
    })
    return await Promise.race([call(), limit])
  } finally {
    clearTimeout(timer)
  }
}
