// The public entries as these sources: ../package.json resolves to them, because the checkout has no build. So `export *`.
export * from '../../edge/worker/entry.ts'
export { default } from '../../edge/worker/entry.ts'
