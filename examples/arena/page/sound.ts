// Sounds synthesized by Web Audio: shot, explosion, engine. Silent until the first key or pointer event, as browsers require, and
// while muted.

const MUTED_KEY = 'firefly-arena-muted'

export class Sound {
  #ctx: AudioContext | null = null
  #noise: AudioBuffer | null = null
  #out: GainNode | null = null
  #engine: GainNode | null = null
  #isMuted = localStorage.getItem(MUTED_KEY) === '1'

  get isMuted(): boolean {
    return this.#isMuted
  }

  /** Call from a key or pointer event. */
  unlock(): void {
    if (this.#ctx) return void this.#ctx.resume()
    const ctx = (this.#ctx = new AudioContext())
    this.#out = ctx.createGain()
    this.#out.gain.value = this.#isMuted ? 0 : 0.5
    this.#out.connect(ctx.destination)
    this.#noise = ctx.createBuffer(1, ctx.sampleRate, ctx.sampleRate)
    const samples = this.#noise.getChannelData(0)
    for (let i = 0; i < samples.length; i++) samples[i] = Math.random() * 2 - 1
    this.#engine = this.#hiss(ctx, 320, true)
  }

  /** Returns true when the sound is muted now. */
  toggle(): boolean {
    this.#isMuted = !this.#isMuted
    localStorage.setItem(MUTED_KEY, this.#isMuted ? '1' : '0')
    if (this.#ctx) this.#out?.gain.setTargetAtTime(this.#isMuted ? 0 : 0.5, this.#ctx.currentTime, 0.02)
    return this.#isMuted
  }

  engine(on: boolean): void {
    if (this.#ctx) this.#engine?.gain.setTargetAtTime(on ? 0.12 : 0, this.#ctx.currentTime, 0.06)
  }

  /** `volume`: 0..1. */
  shot(volume: number): void {
    const ctx = this.#ctx
    if (!ctx || !this.#out || volume < 0.05) return
    const tone = ctx.createOscillator()
    const gain = ctx.createGain()
    const now = ctx.currentTime
    tone.type = 'triangle'
    tone.frequency.setValueAtTime(880 + Math.random() * 120, now)
    tone.frequency.exponentialRampToValueAtTime(160, now + 0.13)
    gain.gain.setValueAtTime(0.16 * volume * volume, now)
    gain.gain.exponentialRampToValueAtTime(0.0005, now + 0.14)
    tone.connect(gain).connect(this.#out)
    tone.start(now)
    tone.stop(now + 0.15)
  }

  explosion(volume: number): void {
    const ctx = this.#ctx
    if (!ctx || volume < 0.05) return
    const gain = this.#hiss(ctx, 700, false)
    gain.gain.setValueAtTime(0.7 * volume * volume, ctx.currentTime)
    gain.gain.exponentialRampToValueAtTime(0.0005, ctx.currentTime + 0.75)
  }

  #hiss(ctx: AudioContext, hz: number, loop: boolean): GainNode {
    const source = ctx.createBufferSource()
    const filter = ctx.createBiquadFilter()
    const gain = ctx.createGain()
    source.buffer = this.#noise
    source.loop = loop
    filter.type = 'lowpass'
    filter.frequency.value = hz
    gain.gain.value = 0
    source.connect(filter).connect(gain).connect(this.#out!)
    source.start()
    return gain
  }
}
